"""Acting one dispatch behind, so that environments step while the learner updates: `--executors.mode=sync_pipelined`.

At the end of a block the next actions are chosen with the parameters as they are, and only then the updates that the
block has earned are handed to the device. It works on them while the host steps environments, and neither waits for the
other until the next block ends: a step costs the longer of the two instead of their sum, given a core for each.
"""

from typing import Any

import jax
import numpy as np

from lsp.training.device import Device
from lsp.training.loop import Now
from lsp.types import Params


class ActBeforeUpdates:
    """`Schedule` whose actions come from the parameters that the latest dispatch started from. Of one seed."""

    def __init__(self) -> None:
        """Act on the present parameters at first."""
        self._acting: Params | None = None  # None: the present parameters

    def act(self, device: Device, now: Now) -> np.ndarray:
        """Act on the parameters of the latest dispatch's start."""
        if self._acting is None:
            self._acting = device.actor_params()
        return np.asarray(device.compiled.act(self._acting, device.roots, *now))

    def dispatch(self, device: Device, packed: np.ndarray, returns: np.ndarray, now: Now, learns: bool) -> np.ndarray:
        """Act first, wait for the actions, and leave the device at work."""
        self._acting = device.actor_params()
        actions = self.act(device, now)
        function = device.compiled.learn if learns else device.compiled.store
        state, metrics = function(device.state, device.roots, now.step, packed, returns)
        device.replace(state, metrics if learns else None)
        return actions

    def forget(self) -> None:
        """Act on the present parameters again."""
        self._acting = None

    def get_state(self) -> dict[str, Any]:
        """The parameters that it acts on."""
        return {"acting": [np.array(leaf) for leaf in jax.tree.leaves(self._acting)]}

    def set_state(self, device: Device, host: dict[str, Any]) -> None:
        """Continue from `get_state`'s result."""
        structure = jax.tree.structure(jax.eval_shape(device.compiled.actor_params, device.state))
        self._acting = jax.tree.unflatten(structure, host["acting"]) if host["acting"] else None
