import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lsp.envs import make
from lsp.envs.toys import PointMassEnv


def test_motion_under_constant_force_has_its_closed_form():
    env = PointMassEnv()
    start, _ = env.reset(seed=0)
    steps, force = 20, np.array([1.0, -0.5])
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(force)
    np.testing.assert_allclose(observation[2:], force * steps * 0.1)
    np.testing.assert_allclose(observation[:2], start[:2] + force * 0.01 * steps * (steps + 1) / 2)
    assert reward == pytest.approx(-np.sum(observation[:2] ** 2))
    assert info["distance"] == pytest.approx(np.linalg.norm(observation[:2]))
    assert not terminated
    assert not truncated


def test_a_damped_spring_beats_standing_still():
    def episode(gain, damping):
        env = make("lsp/PointMass-v0")
        observation, _ = env.reset(seed=3)
        total, truncated = 0.0, False
        while not truncated:
            observation, reward, _, truncated, _ = env.step(-gain * observation[:2] - damping * observation[2:])
            total += reward
        return total

    assert episode(2.0, 2.0) > 0.6 * episode(0.0, 0.0)  # returns are negative


def test_returned_observations_are_not_shared():
    env = PointMassEnv()
    first, _ = env.reset(seed=0)
    kept = first.copy()
    env.step(np.ones(2))[0][:] = 99.0
    assert np.array_equal(first, kept)
    assert np.abs(env.state).max() < 99.0


@pytest.mark.filterwarnings("ignore:.*A Box observation space (min|max)imum value is")
def test_gymnasiums_checker_is_content():
    check_env(PointMassEnv(), skip_render_check=True)
    assert gymnasium.spec("lsp/PointMass-v0").max_episode_steps == 50
