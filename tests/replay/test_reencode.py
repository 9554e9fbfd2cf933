"""Every row is rewritten once, in place; what cannot be rewritten gives way to what can."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.replay import make_prioritized, make_uniform, reencode
from lsp.types import Array, Transition

SPEC = (3, 2)
EXAMPLE = Transition(jnp.zeros(3), jnp.zeros(2), jnp.zeros(()), jnp.zeros(()), jnp.zeros(3))


def rows(n: int) -> Transition:
    """Row i is about i alone."""
    number = jnp.arange(1.0, n + 1)
    return Transition(
        jnp.tile(number[:, None], (1, 3)), jnp.tile(number[:, None], (1, 2)), number, -number, 0.5 + jnp.zeros((n, 3))
    )


def double(limit: float, chunk: Transition) -> tuple[Transition, Array]:
    """Twice the action; unusable where it exceeds `limit`."""
    return chunk._replace(action=2 * chunk.action), chunk.action[:, 0] <= limit


def contents(state: Any) -> np.ndarray:
    leaves = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim == 2 and leaf.shape[-1] == 10]
    return np.array(leaves[0])


@pytest.mark.parametrize(
    ("kind", "capacity"), [("uniform", 5), ("uniform", 8), ("uniform", 13), ("uniform", 40), ("prioritized", 13)]
)
def test_rows_are_rewritten_once(kind: str, capacity: int, monkeypatch: pytest.MonkeyPatch, key: Array) -> None:
    """In blocks of 8: of a ring that has wrapped, is full, ends within a block, or is filled in part."""
    monkeypatch.setattr(reencode, "BLOCK", 8)
    memory = make_uniform(capacity, 4) if kind == "uniform" else make_prioritized(capacity, 4, alpha=0.5, beta=0.4)
    state = memory.init(EXAMPLE)
    for part in np.split(np.arange(20), 5):  # 20 rows
        state = memory.add(state, jax.tree.map(lambda leaf, part=part: leaf[part], rows(20)), jnp.full(4, jnp.inf))
    before = contents(state)
    after, dropped = jax.jit(partial(reencode.reencode, rewrite=partial(double, np.inf)))(state, key=key)
    assert dropped == 0
    expected = before.copy()
    expected[:, 3:5] *= 2
    np.testing.assert_array_equal(contents(after), expected)
    others = (
        [np.array(leaf) for leaf in jax.tree.leaves(each) if leaf.shape != before.shape] for each in (state, after)
    )
    jax.tree.map(np.testing.assert_array_equal, *others)


def test_unusable_rows_give_way_to_usable_ones(monkeypatch: pytest.MonkeyPatch, key: Array) -> None:
    monkeypatch.setattr(reencode, "BLOCK", 8)
    memory = make_uniform(21, 4)
    state = memory.add(memory.init(EXAMPLE), rows(19), jnp.zeros(19))
    before = contents(state)
    after, dropped = jax.jit(partial(reencode.reencode, rewrite=partial(double, 12.0)))(state, key=key)
    assert (dropped, after.size, after.position) == (7, 19, 19)
    expected, found = before.copy(), contents(after)
    expected[:, 3:5] *= 2
    np.testing.assert_array_equal(found[:12], expected[:12])
    copied = found[12:19, 5].astype(int) - 1  # the reward tells which row it was
    assert np.all(copied < 12)
    assert len(set(copied)) > 1
    np.testing.assert_array_equal(found[12:19], expected[copied])
    np.testing.assert_array_equal(found[19:], 0)


def test_all_may_be_dropped_and_none_be_there(key: Array) -> None:
    memory = make_uniform(16, 4)
    empty = memory.init(EXAMPLE)
    full = memory.add(empty, rows(16), jnp.zeros(16))
    run = jax.jit(partial(reencode.reencode, rewrite=partial(double, 0.0)))
    assert run(empty, key=key)[1] == 0
    assert run(full, key=key)[1] == 16
