"""How a function of one seed becomes a compiled function of all seeds of a run.

Training is written for one seed. A `Transform` compiles such functions and knows how the arrays of all seeds lie:

    one seed      jax.jit, no further axis
    many seeds    jax.pmap over devices of jax.vmap over the seeds of each, leading axes [D, N]

Seeds never mix: a seed's numbers are those of its single run, up to rounding, for a batched product may sum in another
order. This file and `lsp.training.device` are the only ones that apply jit, donation, vmap and pmap to training.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lsp.types import Array, Key


class Transform(Protocol):
    """Compiles for all seeds, and finds one seed among them by its index."""

    def compile(
        self, function: Callable[..., Any], arguments: int, shared: Sequence[int] = (), donate: Sequence[int] = ()
    ) -> Any:
        """`function` of one seed, with so many arguments, for all seeds: all but the `shared` ones are of all seeds."""

    def roots(self, seeds: Sequence[int]) -> Key:
        """Root keys of all seeds."""

    def stack(self, indices: Sequence[int], values: Sequence[np.ndarray]) -> np.ndarray:
        """Arrays of the seeds at `indices` as one of all seeds; zeros for the others."""

    def unstack(self, values: Array | np.ndarray) -> Sequence[np.ndarray]:
        """An array of all seeds as one array a seed, in NumPy; waits for it."""

    def get(self, tree: Any, index: int) -> Any:
        """One seed's part of a pytree of all seeds. On a CPU it may be a view: drop it before the next dispatch."""

    def own(self, tree: Any, index: int) -> Any:
        """As `get`, but safe to donate; of one seed this gives the tree away."""

    def put(self, tree: Any, index: int, value: Any) -> Any:
        """A pytree of all seeds, donated, with another value for one of them."""

    def release(self, tree: Any) -> None:
        """Free what `put` would not reuse."""


class OneSeed:
    """`Transform` of a single seed: plain `jax.jit`."""

    def compile(
        self, function: Callable[..., Any], arguments: int, shared: Sequence[int] = (), donate: Sequence[int] = ()
    ) -> Any:
        """`function`, compiled."""
        del arguments, shared
        return jax.jit(function, donate_argnums=tuple(donate))

    def roots(self, seeds: Sequence[int]) -> Key:
        """The root key of the only seed."""
        (seed,) = seeds
        return jax.random.key(seed)

    def stack(self, indices: Sequence[int], values: Sequence[np.ndarray]) -> np.ndarray:
        """The only array."""
        del indices
        return values[0]

    def unstack(self, values: Array | np.ndarray) -> Sequence[np.ndarray]:
        """The array alone."""
        return [np.asarray(values)]

    def get(self, tree: Any, index: int) -> Any:
        """The tree."""
        del index
        return tree

    own = get

    def put(self, tree: Any, index: int, value: Any) -> Any:
        """The value."""
        del tree, index
        return value

    def release(self, tree: Any) -> None:
        """Free the tree: replay may fill half of the memory."""
        jax.tree.map(lambda leaf: leaf.delete(), tree)


class ManySeeds:
    """`Transform` of `count` seeds. Where they do not divide among devices, the last places stay idle."""

    def __init__(self, count: int) -> None:
        """Use as many local devices as there are, and at most one a seed."""
        self._devices = jax.local_devices()[:count]
        self._shape = len(self._devices), math.ceil(count / len(self._devices))
        self._put = jax.pmap(_replace, in_axes=(0, None, None, 0), donate_argnums=0, devices=self._devices)

    def compile(
        self, function: Callable[..., Any], arguments: int, shared: Sequence[int] = (), donate: Sequence[int] = ()
    ) -> Any:
        """`function` under pmap of vmap."""
        axes = tuple(None if i in shared else 0 for i in range(arguments))
        mapped = jax.vmap(function, in_axes=axes)
        return jax.pmap(mapped, in_axes=axes, donate_argnums=tuple(donate), devices=self._devices)

    def roots(self, seeds: Sequence[int]) -> Key:
        """Root keys, [D, N]; idle places repeat the last seed."""
        padded = [*seeds, *[seeds[-1]] * (math.prod(self._shape) - len(seeds))]
        return jnp.stack([jax.random.key(seed) for seed in padded]).reshape(self._shape)

    def stack(self, indices: Sequence[int], values: Sequence[np.ndarray]) -> np.ndarray:
        """Arrays [...] as one f32[D, N, ...]."""
        stacked = np.zeros((math.prod(self._shape), *values[0].shape), np.float32)
        stacked[list(indices)] = values
        return stacked.reshape(*self._shape, *values[0].shape)

    def unstack(self, values: Array | np.ndarray) -> Sequence[np.ndarray]:
        """[D, N, ...] -> D * N arrays [...]."""
        return list(np.asarray(values).reshape(-1, *values.shape[2:]))

    def get(self, tree: Any, index: int) -> Any:
        """One seed's [...] of each leaf [D, N, ...]."""
        device, place = divmod(index, self._shape[1])

        def pick(leaf: Array) -> Array | np.ndarray:
            shard = leaf.addressable_shards[device].data
            return (np.asarray(shard) if jax.default_backend() == "cpu" else shard)[0, place]

        return jax.tree.map(pick, tree)

    def own(self, tree: Any, index: int) -> Any:
        """A copy of one seed's part."""
        return jax.tree.map(lambda leaf: jnp.array(leaf), self.get(tree, index))

    def put(self, tree: Any, index: int, value: Any) -> Any:
        """Replace one seed's part in place."""
        device, place = divmod(index, self._shape[1])
        return self._put(tree, value, np.int32(place), np.arange(self._shape[0]) == device)

    def release(self, tree: Any) -> None:
        """Nothing: the tree is written in place."""


def of_seeds(count: int) -> Transform:
    """The transform for so many seeds."""
    return OneSeed() if count == 1 else ManySeeds(count)


def _replace(tree: Any, value: Any, place: Array, here: Array) -> Any:
    """Replace one seed's part of a device's [N, ...] by `value`, if it is `here`, bool[]."""
    return jax.tree.map(lambda old, leaf: old.at[place].set(jnp.where(here, leaf, old[place])), tree, value)
