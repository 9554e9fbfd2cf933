"""Ants with goals: what they achieve, where goals are, and the study's rewards."""

from typing import Any

import numpy as np
import pytest

from lsp import envs
from lsp.config import ConfigError
from lsp.envs.ant_goals import PLACES, SPEEDS, augmented

NAMES = ("lsp/RllabAntGoal-v0", "lsp/RllabAntVelocity-v0")


@pytest.mark.parametrize(("name", "bounds"), [(NAMES[0], PLACES), (NAMES[1], SPEEDS)])
def test_goals_are_uniform_in_their_ring(name: str, bounds: tuple[float, float]) -> None:
    env: Any = envs.make(name).unwrapped
    env.reset(seed=0)
    drawn = np.array([env.choose_goal() for _ in range(2000)])
    away = np.linalg.norm(drawn, axis=-1)
    assert bounds[0] <= away.min()
    assert away.max() <= bounds[1]
    assert np.mean(away**2) == pytest.approx(np.mean(np.square(bounds)), rel=0.05)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=0.2)


def test_a_place_is_where_the_torso_is_and_a_velocity_how_the_body_moves() -> None:
    place, velocity = (envs.make(name) for name in NAMES)
    plain = envs.make("lsp/RllabAnt-v0")
    for env in (plain, place, velocity):
        env.reset(seed=3)
    for action in np.random.default_rng(0).uniform(-1, 1, (20, 8)):
        observation, *_, info = plain.step(action)
        for env in (place, velocity):
            assert np.array_equal(env.step(action)[0][:125], observation)  # goals are drawn after the pose
        assert place.outcome[:2].tolist() == observation[:2].tolist()
        assert velocity.outcome[0] == np.float32(info["x_velocity"])


def test_a_fall_is_a_failure_whatever_the_goal() -> None:
    env = envs.make("lsp/RllabAntGoal-v0")
    env.reset(seed=0)
    env.unwrapped.data.qpos[2] = 3.0
    assert env.step(np.zeros(8))[2]
    assert env.outcome[-1] == 1


@pytest.mark.parametrize(("kind", "beyond", "within"), [("binary", -1, 0), ("sum", 4, 5), ("proportional", 4.5, 5)])
def test_the_rewards_of_the_study(kind: str, beyond: float, within: float) -> None:
    """Of an own reward of 5."""
    found = augmented(np.array([[3.1], [2.9]]), np.zeros((2, 1)), np.full(2, 5.0), kind=kind, radius=3.0)
    np.testing.assert_allclose(found, [beyond, within])


@pytest.mark.parametrize(("goal", "dim", "radius"), [("position", 15, 10.0), ("velocity", 14, 3.0)])
def test_the_studys_goals(goal: str, dim: int, radius: float) -> None:
    """Steps pay the ant's own reward; goals are as far as the study had them."""
    env, plain = envs.make("lsp/RllabAntStudy-v0", goal=goal, reward="sum"), envs.make("lsp/RllabAnt-v0")
    base: Any = env.unwrapped
    task = envs.spec_of(env).goals
    assert (task.dim, base.radius) == (dim, radius)
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        plain.reset(seed=seed)
        moved = observation[-dim:] - (base.data.qpos if goal == "position" else base.data.qvel)
        assert np.abs(moved).max() <= (60 if goal == "position" else 15)
        assert goal == "velocity" or np.abs(moved[2:]).max() < 1e-6
        assert env.step(np.zeros(8))[1] == plain.step(np.zeros(8))[1]


@pytest.mark.parametrize("kwargs", [{"goal": "pose"}, {"reward": "dense"}])
def test_variants_that_do_not_exist(kwargs: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"(goal='pose'|reward='dense'): must be"):
        envs.make("lsp/RllabAntStudy-v0", **kwargs)
