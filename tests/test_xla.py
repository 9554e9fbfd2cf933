"""A branch under vmap does what it would one by one, and costs nothing when it is not taken."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.xla import run_if


def halve_if(condition: jax.Array, state: Any) -> Any:
    return run_if(condition, lambda state: jax.tree.map(lambda x: jnp.sin(x) / 2, state), state)


@pytest.mark.parametrize("conditions", [[True, True], [False, False], [True, False]])
def test_under_vmap(conditions: list[bool]) -> None:
    state = {"a": jnp.ones((2, 3)), "b": jnp.arange(2.0)}
    together = jax.jit(jax.vmap(halve_if))(jnp.array(conditions), state)
    one_by_one = [halve_if(jnp.array(c), jax.tree.map(lambda x, i=i: x[i], state)) for i, c in enumerate(conditions)]
    jax.tree.map(lambda whole, *parts: np.testing.assert_allclose(whole, parts, rtol=1e-6), together, *one_by_one)
    shared = jax.vmap(halve_if, in_axes=(0, None))(jnp.array(conditions), jnp.ones(3))
    expected = [np.full(3, np.sin(1) / 2 if condition else 1.0) for condition in conditions]
    np.testing.assert_allclose(shared, expected, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(halve_if, in_axes=(None, 0))(True, jnp.ones(3)), np.full(3, np.sin(1) / 2))


def test_it_runs_only_then() -> None:
    """One conditional in the program, of one condition for all; what selects among lanes is inside it."""
    program = str(jax.make_jaxpr(jax.vmap(halve_if))(jnp.array([True, False]), jnp.ones((2, 3))))
    outside = program[: program.index("cond[")]
    assert "reduce_or" in outside
    assert "select" not in outside
    assert "sin" not in outside
