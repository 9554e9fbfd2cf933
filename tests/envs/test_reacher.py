"""The arm against its closed forms."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lsp import envs
from lsp.envs.drawing import GOAL, MET
from lsp.envs.reacher import DAMPING, REACH, TIMESTEP, TORQUE, VIEW, Reacher2DEnv, fingertip


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
    check_env(gymnasium.make("lsp/Reacher2D-v0", render_mode="rgb_array").unwrapped)
    assert gymnasium.spec("lsp/Reacher2D-v0").max_episode_steps == 50


def test_what_was_returned_is_not_shared() -> None:
    env = Reacher2DEnv()
    first: Any = env.reset(seed=0)[0]
    kept = {name: array.copy() for name, array in first.items()}
    env.step(np.ones(2))[0]["desired_goal"][:] = 99.0
    assert all(np.array_equal(first[name], kept[name]) for name in kept)
    assert np.abs(env.goal).max() < 1


def at(frame: np.ndarray, position: np.ndarray) -> list[int]:
    """Color at a position in m."""
    column, row = (len(frame) * (1 + position * [1, -1] / VIEW) / 2).astype(int)
    return frame[row, column].tolist()


def test_a_frame_shows_the_goal_where_it_is_and_whether_it_is_met() -> None:
    env: Any = envs.make("lsp/Reacher2D-v0", render_mode="rgb_array")
    env.reset(seed=3)
    base = env.unwrapped
    frame = env.render()
    assert (frame.shape, frame.dtype) == ((256, 256, 3), np.uint8)
    assert at(frame, base.goal) == list(GOAL)
    assert env.metadata["render_fps"] == round(1 / TIMESTEP)
    hand = fingertip(base.state[:2])
    link = (np.array([np.cos(base.state[0]), np.sin(base.state[0])]) / 2 + hand) / 2
    assert at(frame, link)[2] > at(frame, link)[0] + 50, "the second link is blue in its middle"
    base.goal = hand + np.array([0.03, 0.0])
    assert at(env.render(), base.goal) == list(MET)
    env.step(np.ones(2))
    assert np.any(env.render() != frame), "the arm moves"


def test_without_a_render_mode_there_is_no_frame() -> None:
    assert Reacher2DEnv().render() is None
    with pytest.raises(ValueError, match="render_mode='human': must be 'rgb_array'"):
        Reacher2DEnv("human")
