"""The training loop with acting one dispatch behind, so that environments step while the learner updates.

At the end of a block the next actions are chosen with the parameters as they are, and only then the updates that the
block has earned are handed to the device. It works on them while the host steps environments, and neither waits for the
other until the next block ends: a step costs the longer of the two instead of their sum, given a core for each.
"""

from functools import partial
from typing import Any

import jax
import numpy as np

from lsp.training.device import RunState, learn
from lsp.training.loop import Change, Loop
from lsp.types import Executors, Params, Recipe


class PipelinedLoop(Loop):
    """A run whose actions come from the parameters that the latest dispatch started from, not those it ended with."""

    def __init__(self, recipe: Recipe, executors: Executors) -> None:
        """Prepare the device; no environment is touched yet."""
        super().__init__(recipe, executors)
        self._acting: Params | None = None  # what actions come from; None: the present parameters
        self._compile(recipe)

    def _compile(self, recipe: Recipe) -> None:
        self._store, self._learn = (
            jax.jit(partial(learn, recipe, self.executors.spec, number), donate_argnums=0)
            for number in (0, self._updates_per_dispatch)
        )

    def grow(self, recipe: Recipe, state: RunState, change: Change) -> None:
        """Go on with the next stage of a run, as `Loop.grow` does."""
        super().grow(recipe, state, change)
        self._acting = None
        self._compile(recipe)

    def _act(self, observations: np.ndarray) -> np.ndarray:
        if self._acting is None:
            self._acting = self.actor_params()
        return self._choose(self._acting, observations)

    def _dispatch(self, observations: np.ndarray) -> np.ndarray:
        self._acting = self.actor_params()
        actions = self._act(observations)
        learns = self._learns()
        function = self._learn if learns else self._store
        state, metrics = function(self.state, self.root, np.int32(self.step), *self._take_waiting())
        self._move_on(state, metrics if learns else None)
        return actions

    def get_state(self) -> dict[str, Any]:
        """The host's part of the run, and the parameters that it acts on."""
        return super().get_state() | {"acting": [np.array(leaf) for leaf in jax.tree.leaves(self._acting)]}

    def set_state(self, host: dict[str, Any], state: RunState) -> None:
        """Go on from `get_state`'s result and the device's part."""
        super().set_state(host, state)
        structure = jax.tree.structure(jax.eval_shape(self._dispatches.actor_params, state))
        self._acting = jax.tree.unflatten(structure, host["acting"]) if host["acting"] else None
