"""Whatever the registry builds keeps the contracts of `lsp.types`, in every shape they name. Nothing is computed."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import lsp.types
from lsp import agents
from lsp.envs import goals
from lsp.types import ActionSample, EnvSpec, GoalTask, Recipe, Transition

GOALS = GoalTask(2, partial(goals.cost, radius=0.1), goals.never)
SPEC = EnvSpec(observation_dim=5, action_dim=3, goals=GOALS)
ROWS, CAPACITY = 7, 1_000_000
PRESETS = ("modern", "dissertation")
Shaped = jax.ShapeDtypeStruct


def f32(*shape: int) -> Shaped:
    return Shaped(shape, jnp.float32)


def i32(*shape: int) -> Shaped:
    return Shaped(shape, jnp.int32)


def transitions(*leading: int) -> Transition:
    observation, scalar = f32(*leading, SPEC.observation_dim), f32(*leading)
    action, outcome = f32(*leading, SPEC.action_dim), f32(*leading, GOALS.dim + 2)
    return Transition(observation, action, scalar, scalar, observation, outcome)


def key() -> Any:
    return jax.eval_shape(jax.random.key, 0)


def plain(tree: Any) -> Any:
    """Shapes and dtypes alone, without what else JAX knows of them."""
    return jax.tree.map(lambda leaf: Shaped(leaf.shape, leaf.dtype), tree)


@pytest.fixture(params=[(name, preset) for name in agents.AGENTS for preset in PRESETS], ids="-".join)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return agents.build(agents.presets(*request.param), SPEC)


@pytest.mark.parametrize("leading", [(), (4,), (2, 4)])
def test_acting(recipe: Recipe, leading: tuple[int, ...]) -> None:
    agent = recipe.agent
    params = jax.eval_shape(lambda key: agent.actor_params(agent.init(key)), key())
    observation, action = f32(*leading, SPEC.observation_dim), f32(*leading, SPEC.action_dim)
    for function, last in (
        (agent.act, [key()]),
        (agent.act_mode, []),
        (agent.act_latent, [action]),
        (agent.act_random, [key()]),
    ):
        assert plain(jax.eval_shape(function, params, observation, *last)) == ActionSample(action, action)


def test_learning(recipe: Recipe) -> None:
    """Every function gives back a state like the one it took, or a scan or a second call would fail to fit."""
    agent, replay = recipe.agent, recipe.replay
    state = jax.eval_shape(agent.init, key())
    observed = jax.eval_shape(agent.observe, state, transitions(ROWS), f32(ROWS))
    memory = jax.eval_shape(replay.init, transitions())
    batch = jax.eval_shape(replay.sample, memory, key())
    updated, info = jax.eval_shape(agent.update, state, batch, key())
    assert plain(observed) == plain(updated) == plain(state)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((state, observed, updated)))
    assert plain(info.priorities) == f32(recipe.config.replay.batch_size)
    assert {leaf.shape for leaf in info.metrics.values()} == {()}
    params = jax.eval_shape(agent.actor_params, state)
    assert plain(jax.eval_shape(agent.priority, params, transitions(ROWS), key())) == f32(ROWS)


@pytest.mark.parametrize("count", [1, ROWS])
def test_remembering(recipe: Recipe, count: int) -> None:
    replay, batch_size = recipe.replay, recipe.config.replay.batch_size
    memory = jax.eval_shape(replay.init, transitions())
    added = jax.eval_shape(replay.add, memory, transitions(count), f32(count))
    batch = jax.eval_shape(replay.sample, memory, key())
    written = jax.eval_shape(replay.update_priorities, memory, batch.indices, f32(batch_size))
    assert plain(added) == plain(written) == plain(memory)
    assert plain(batch)[:3] == (transitions(batch_size), i32(batch_size), f32(batch_size))
    assert plain(jax.eval_shape(replay.size, memory)) == i32()
    assert {leaf.shape for leaf in jax.eval_shape(replay.metrics, memory, batch).values()} == {()}
    dumped = jax.eval_shape(partial(replay.dump, size=count), memory)
    assert plain(jax.eval_shape(replay.load, dumped)) == plain(memory)
    assert sum(leaf.size for leaf in jax.tree.leaves(dumped)) < 1000 * count  # the empty rows are left out


def test_every_axis_is_defined() -> None:
    text = Path(lsp.types.__file__).read_text()
    defined = re.findall(r"(?:^Axes, everywhere:|,|\n) (\w) [a-z]", text[: text.index("Leading axes")], re.MULTILINE)
    shapes = re.findall(r"\[((?:\w|\.{3})(?:, [\w. +]+)*)\]", text)
    assert len(shapes) > 30
    assert {letter for shape in shapes for letter in re.findall(r"[A-Za-z]", shape)} <= set(defined)
    assert "W" in defined


def test_the_map_names_every_package() -> None:
    text, root = lsp.types.__doc__ or "", Path(lsp.__file__).parent
    packages = [path.parent.name for path in root.glob("*/__init__.py")]
    modules = [path.stem for path in root.glob("*.py") if path.stem != "__init__"]
    named = set(re.findall(r"\w+", text[text.index("From the bottom up") :]))
    assert set(packages) <= named
    assert {"dispatch", "numpy_policy"} >= set(modules) - named
