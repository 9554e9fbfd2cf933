"""The arm against its closed forms."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lsp.envs.reacher import DAMPING, REACH, TIMESTEP, TORQUE, Reacher2DEnv, fingertip


def test_fingertip() -> None:
    poses = np.array([[0.0, 0.0], [np.pi / 2, 0.0], [0.0, np.pi / 2], [0.3, np.pi]])
    expected = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.0, 0.0]]
    np.testing.assert_allclose(fingertip(poses), expected, atol=1e-12)


def test_velocity_under_constant_torque_approaches_its_limit_geometrically() -> None:
    env = Reacher2DEnv()
    env.reset(seed=0)
    action = np.array([1.0, -0.5])
    for _ in range(7):
        observation, *_ = env.step(action)
    expected = TORQUE * action / DAMPING * (1 - (1 - TIMESTEP * DAMPING) ** 7)
    np.testing.assert_allclose(observation["observation"][4:6], expected)
    np.testing.assert_allclose(observation["observation"][6:], observation["achieved_goal"])


def test_goals_are_uniform_in_the_ring_within_reach() -> None:
    env = Reacher2DEnv()
    away = np.array([np.linalg.norm(env.reset(seed=seed)[0]["desired_goal"]) for seed in range(500)])
    nearest, farthest = REACH
    assert nearest <= away.min() < nearest + 0.1
    assert farthest - 0.02 < away.max() <= farthest
    share = (away**2 - nearest**2) / (farthest**2 - nearest**2)
    assert np.mean(share) == pytest.approx(0.5, abs=0.06)


def test_success_is_a_reward_of_zero() -> None:
    env = Reacher2DEnv()
    env.reset(seed=3)
    env.goal = fingertip(env.state[:2])
    _, reward, *_, info = env.step(np.zeros(2))
    assert (reward, info["is_success"], info["distance"]) == (0.0, True, 0.0)
    env.goal[0] += 0.051
    _, reward, terminated, _, info = env.step(np.zeros(2))
    assert (reward, info["is_success"], terminated) == (-1.0, False, False)


@pytest.mark.filterwarnings("ignore:.*A Box observation space (min|max)imum value is")
def test_gymnasiums_checker_is_content() -> None:
    check_env(Reacher2DEnv(), skip_render_check=True)
    assert gymnasium.spec("lsp/Reacher2D-v0").max_episode_steps == 50


def test_what_was_returned_is_not_shared() -> None:
    env = Reacher2DEnv()
    first: Any = env.reset(seed=0)[0]
    kept = {name: array.copy() for name, array in first.items()}
    env.step(np.ones(2))[0]["desired_goal"][:] = 99.0
    assert all(np.array_equal(first[name], kept[name]) for name in kept)
    assert np.abs(env.goal).max() < 1
