"""What steers XLA returns what its plain counterpart would, and the compiled programs are what it is there for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import xla
from tests.support.hlo import compiled, compiled_graph


def halve_if(condition: jax.Array, state: Any) -> Any:
    return xla.cond_any(condition, lambda state: jax.tree.map(lambda x: jnp.sin(x) / 2, state), state)


@pytest.mark.parametrize("conditions", [[True, True], [False, False], [True, False]])
def test_cond_any_under_vmap(conditions: list[bool]) -> None:
    state = {"a": jnp.ones((2, 3)), "b": jnp.arange(2.0)}
    together = jax.jit(jax.vmap(halve_if))(jnp.array(conditions), state)
    one_by_one = [halve_if(jnp.array(c), jax.tree.map(lambda x, i=i: x[i], state)) for i, c in enumerate(conditions)]
    jax.tree.map(lambda whole, *parts: np.testing.assert_allclose(whole, parts, rtol=1e-6), together, *one_by_one)
    shared = jax.vmap(halve_if, in_axes=(0, None))(jnp.array(conditions), jnp.ones(3))
    expected = [np.full(3, np.sin(1) / 2 if condition else 1.0) for condition in conditions]
    np.testing.assert_allclose(shared, expected, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(halve_if, in_axes=(None, 0))(True, jnp.ones(3)), np.full(3, np.sin(1) / 2))


def test_cond_any_runs_only_then() -> None:
    """One conditional in the program, of one condition for all; what selects among the states is inside it."""
    program = str(jax.make_jaxpr(jax.vmap(halve_if))(jnp.array([True, False]), jnp.ones((2, 3))))
    outside = program[: program.index("cond[")]
    assert "reduce_or" in outside
    assert "select" not in outside
    assert "sin" not in outside


@pytest.mark.parametrize("shape", [(), (1,), (7,), (128,), (2, 128), (3, 1, 5), (0,)])
def test_random_bits_are_those_of_jax(shape: tuple[int, ...]) -> None:
    for seed in (0, 1, 2**31 - 1):
        key = jax.random.key(seed)
        for function in (xla.random_bits, jax.jit(xla.random_bits, static_argnums=1)):
            bits = function(key, shape)
            assert (bits.shape, bits.dtype) == (shape, np.uint32)
            np.testing.assert_array_equal(bits, jax.random.bits(key, shape))


def test_random_bits_under_vmap() -> None:
    keys = jax.random.split(jax.random.key(3), 4)
    expected = jax.vmap(lambda key: jax.random.bits(key, (9,)))(keys)
    np.testing.assert_array_equal(jax.vmap(lambda key: xla.random_bits(key, (9,)))(keys), expected)


def test_random_bits_of_keys_of_other_kinds() -> None:
    old, other = jax.random.PRNGKey(5), jax.random.key(5, impl="rbg")
    for key in (old, other):
        np.testing.assert_array_equal(xla.random_bits(key, (4,)), jax.random.bits(key, (4,)))


def test_random_bits_have_no_loop() -> None:
    """Or it would be worth nothing: on CPU `jax.random.bits` has one."""
    functions = (xla.random_bits, jax.random.bits)
    ours, theirs = (jax.jit(f, static_argnums=1).lower(jax.random.key(0), (8,)).as_text() for f in functions)
    assert "while" not in ours
    assert "while" in theirs


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_scatter_written_twice_is_the_scatter(n: int) -> None:
    indices, values = np.arange(n) + 2, np.linspace(1.0, 2.0, n)
    where, what = xla.scatter_twice(indices, values)
    found = jnp.zeros(9).at[where].set(what)
    expected = np.zeros(9)
    expected[indices] = values
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("start", "n"), [(3, 1), (6, 1), (2, 3), (5, 4)])
def test_rows_are_written_at_their_indices(start: int, n: int) -> None:
    """Also across the end, of 7 rows."""
    indices = (start + np.arange(n)) % 7
    rows, new = np.zeros((7, 2), np.float32), np.arange(1.0, 2 * n + 1).reshape(n, 2).astype(np.float32)
    found = jax.jit(xla.write_rows)(rows, new, start, indices)
    rows[indices] = new
    np.testing.assert_array_equal(found, rows)


def test_what_is_always_true_and_what_is_constant() -> None:
    values = np.array([0.0, 1e-30, 5.0, np.inf])
    np.testing.assert_array_equal(xla.true_after_reading(values), [True] * 4)
    for value in (True, False):
        found = xla.constant_like(np.arange(4), value)
        assert found.dtype == bool
        np.testing.assert_array_equal(found, [value] * 4)


def test_no_constant_is_left_in_their_programs() -> None:
    """XLA cannot know what is always so, or it would steer nothing."""
    for function, dtype in ((xla.true_after_reading, jnp.float32), (lambda x: xla.constant_like(x, False), jnp.int32)):
        graph = compiled_graph(function, jax.ShapeDtypeStruct((64,), dtype))
        assert any(kind == "fusion" and graph.operands[name] for name, kind in graph.kinds.items())


def test_pairs() -> None:
    found = xla.pair(jnp.int32(3), jnp.int32(5))
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, [3, 5])


def test_sorting_by_bits(rng: np.random.Generator) -> None:
    """Six decades, infinity, zeros and the one negative number."""
    values = (10 ** rng.uniform(-30, 30, 500)).astype(np.float32)
    values[:20], values[20:40], values[40] = 0.0, -1.0, np.inf
    values = rng.permutation(values)
    np.testing.assert_array_equal(xla.sort(values), np.sort(values))
    assert "s32" in compiled(xla.sort, values, donate=()).as_text().split("sort(")[0].splitlines()[-1]


def test_what_is_computed_once_is_not_fused() -> None:
    ascending = np.array([1, 1, 4, 9], np.int32)
    np.testing.assert_array_equal(xla.computed_once(ascending), ascending)
    assert "sort(" in compiled(xla.computed_once, ascending, donate=()).as_text()
