"""Rules of goals: closed forms, NumPy against JAX, and every shipped task's array reward against the task's own."""

from typing import Any

import jax
import numpy as np
import pytest

from lsp import envs
from lsp.envs import goals

STUDY = [(goal, reward) for goal in ("position", "velocity") for reward in ("binary", "sum", "proportional")]
TASKS = [("lsp/Reacher2D-v0", {}), ("lsp/RllabAntGoal-v0", {}), ("lsp/RllabAntVelocity-v0", {})]
TASKS += [("lsp/RllabAntStudy-v0", {"goal": goal, "reward": reward}) for goal, reward in STUDY]


def test_closed_forms() -> None:
    achieved, goal = np.array([[0.0, 0.0], [3.0, 4.0]]), np.zeros((2, 2))
    np.testing.assert_allclose(goals.distance(achieved, goal), [0.0, 5.0])
    assert goals.cost(achieved, goal, 7.0, radius=4.9).tolist() == [0.0, -1.0]
    assert goals.bonus(achieved, goal, 7.0, radius=5.0).tolist() == [1.0, 1.0]
    assert goals.never(achieved, goal).tolist() == [False, False]


@pytest.mark.parametrize(("name", "kwargs"), TASKS, ids=str)
def test_the_array_reward_is_the_tasks_own(name: str, kwargs: dict[str, str], rng: np.random.Generator) -> None:
    """On 100,000 pairs around the boundary, float32 on the device against float64 on the host."""
    env = envs.make(name, **kwargs)
    task = envs.spec_of(env).goals
    base: Any = env.unwrapped
    radius = getattr(base, "radius", 0.05)
    goal = rng.normal(size=(100_000, task.dim))
    direction = rng.normal(size=goal.shape)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    away = radius * rng.uniform(0.0, 2.0, (len(goal), 1))
    achieved, own = goal + away * direction, rng.normal(size=len(goal))
    clear = np.abs(away[:, 0] - radius) > 1e-5  # in float32 the boundary is as wide as that
    assert clear.mean() > 0.99
    expected = base.compute_reward(achieved, goal, {"own_reward": own})
    found = jax.jit(task.reward)(*(array.astype(np.float32) for array in (achieved, goal, own)))
    np.testing.assert_allclose(found[clear], expected[clear], rtol=1e-5, atol=1e-6)
    assert len(np.unique(np.asarray(found))) >= 2
    assert not np.asarray(jax.jit(task.terminated)(achieved, goal)).any()


@pytest.mark.parametrize(("name", "kwargs"), TASKS[:3], ids=str)
def test_a_steps_reward_is_that_of_its_outcome(name: str, kwargs: dict[str, str], rng: np.random.Generator) -> None:
    env = envs.make(name, **kwargs)
    task = envs.spec_of(env).goals
    observation, _ = env.reset(seed=1)
    for _ in range(30):
        observation, reward, *_, info = env.step(rng.uniform(-1, 1, env.action_space.shape))
        goal = observation[-task.dim :]
        assert task.reward(env.outcome[: task.dim], goal, reward) == reward
        away = goals.distance(env.outcome[: task.dim], goal)
        assert info["is_success"] == (away <= getattr(env.unwrapped, "radius", 0.05))
