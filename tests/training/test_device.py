"""What a dispatch does and what XLA makes of it: no copies of the ring, no two keys alike."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.replay import make_uniform
from lsp.training.device import RunState, Stream, act, advance, example_transition, stream_key
from lsp.types import Recipe
from tests.support.hlo import whole_array_copies
from tests.support.loops import ANT, POINT_MASS, ant_recipe, make_toy, toy_config


def test_each_executor_explores_on_its_own_scale() -> None:
    """The latents are those of the policy, times the executor's scale; ones change nothing."""
    agent, observations = make_toy(POINT_MASS), np.zeros((3, 4), np.float32)
    arguments = (agent.init(jax.random.key(1)), jax.random.key(0), np.int32(7), observations, np.bool_(False))
    plain, ones, scaled = (
        np.asarray(act(agent, *arguments, scales=scales)) for scales in (None, (1.0, 1.0, 1.0), (0.5, 1.0, 2.0))
    )
    np.testing.assert_allclose(ones, plain, rtol=1e-6)
    np.testing.assert_allclose(scaled[:, 2:], plain[:, 2:] * np.array([[0.5], [1.0], [2.0]]), rtol=1e-6)


def dispatch_shapes(recipe: Recipe, count: int) -> tuple[Any, ...]:
    """Arguments of `advance` for the ant, as shapes."""
    state = jax.eval_shape(
        lambda: RunState(recipe.agent.init(jax.random.key(0)), recipe.replay.init(example_transition(ANT)))
    )
    floats = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((count, 260), (count,), (1, 125))]
    key, step = jax.eval_shape(lambda: (jax.random.key(0), jnp.int32(0)))
    return state, key, step, *floats, jax.ShapeDtypeStruct((), jnp.bool_)


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["real", "toy"])
def test_a_dispatch_copies_no_ring_of_a_million_rows(agent: str) -> None:
    count = {"real": 1, "toy": 8}[agent]
    chosen = {"real": ant_recipe().agent, "toy": make_toy(ANT)}[agent]
    recipe = Recipe(chosen, make_uniform(2**20, 8), toy_config())
    copies, temporary = whole_array_copies(
        lambda *arguments: advance(recipe, ANT, count, *arguments), *dispatch_shapes(recipe, count), min_elements=2**20
    )
    assert copies == []
    assert temporary < 2**20


@pytest.mark.parametrize("count", [1, 8])
def test_two_seeds_side_by_side_copy_no_ring(count: int) -> None:
    recipe = Recipe(make_toy(ANT), make_uniform(2**16, 8), toy_config())
    state, key, step, chunk, returns, observations, random = dispatch_shapes(recipe, count)
    pair = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype), (state, key, chunk, returns, observations)
    )
    shapes = (*pair[:2], step, *pair[2:], random)
    function = jax.vmap(lambda *arguments: advance(recipe, ANT, count, *arguments), in_axes=(0, 0, None, 0, 0, 0, None))
    copies, temporary = whole_array_copies(function, *shapes, min_elements=2**16)
    assert copies == []
    assert temporary < 2**20


def test_streams_share_no_key() -> None:
    def keys(root: jax.Array) -> jax.Array:
        steps = jnp.arange(100)
        streams = [jax.vmap(lambda step, stream=stream: stream_key(root, stream, step))(steps) for stream in Stream]
        updates = jax.vmap(lambda key: jax.random.split(key, 4))(streams[Stream.LEARN]).ravel()
        return jnp.concatenate([*streams, updates, jax.vmap(jax.random.split)(updates).ravel()])

    found = jax.jit(jax.vmap(lambda seed: jax.random.key_data(keys(jax.random.key(seed)))))(jnp.arange(3))
    found = np.asarray(found).reshape(-1, 2)
    assert len(np.unique(found, axis=0)) == len(found) == 3 * 100 * (len(Stream) + 4 + 8)
