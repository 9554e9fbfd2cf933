"""The policy in an asynchronous worker: the agent's own functions, in JAX on one thread of the CPU."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from lsp import agents, packing
from lsp.agents import stack
from lsp.config import Config
from lsp.config.executors import latent_scales
from lsp.training.device import Stream, act, stream_key
from lsp.types import ActionSample, EnvSpec, Recipe


def make_policy(
    config: Config, stage: int, layers: Sequence[dict[str, Any]], spec: EnvSpec, part: range, incarnation: int
) -> "JaxPolicy":
    """The policy of executors `part` in a process of its own, whose JAX it confines to one thread.

    `stage` and the descriptions of frozen `layers` are of the layer in training; values come with the parameters.
    """
    os.environ["NPROC"] = "1"  # XLA's pool of threads
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    jax.config.update("jax_platforms", "cpu")  # a GPU is the learner's
    recipe = agents.build(config, spec, tuple(map(stack.from_description, layers)), stage)
    return JaxPolicy(recipe, config, spec, part, incarnation)


class JaxPolicy:
    """Acts and ranks under the latest parameters that it was given."""

    def __init__(self, recipe: Recipe, config: Config, spec: EnvSpec, part: range, incarnation: int) -> None:
        """Act as the agent of `recipe`, which `config` describes; `load` parameters before use."""
        agent = recipe.agent
        # Neither a neighbor's random numbers, nor those of an executor that was here before.
        seed = np.random.SeedSequence((config.seed, part.start, incarnation)).generate_state(1)[0]
        self._root = jax.random.key(int(seed) >> 1)
        scales = latent_scales(config.executors)
        self._act = jax.jit(partial(act, agent, scales=None if scales is None else scales[part.start : part.stop]))
        layout = packing.Layout.of(spec)
        self._rank = jax.jit(lambda params, packed, key: agent.priority(params, layout.unpack(packed), key))
        shapes = jax.eval_shape(lambda key: agent.actor_params(agent.init(key)), jax.random.key(0))
        self._structure = jax.tree.structure(shapes)
        self._ranks = recipe.replay.ranks_new
        self._dim = spec.action_dim

    def load(self, leaves: list[np.ndarray]) -> None:
        """Take over parameters, the leaves of what `Agent.actor_params` gives."""
        self._params = jax.device_put(jax.tree.unflatten(self._structure, leaves))

    def act(self, observations: np.ndarray, step: int, random: bool) -> ActionSample:
        """Actions for [E, S]."""
        actions = np.asarray(self._act(self._params, self._root, np.int32(step), observations, np.bool_(random)))
        return ActionSample(actions[:, : self._dim], actions[:, self._dim :])

    def rank(self, packed: np.ndarray, step: int) -> np.ndarray:
        """TD errors of packed transitions [n, W], f32[n]; zeros where the replay would not look at them."""
        if not self._ranks:
            return np.zeros(len(packed), np.float32)
        return np.asarray(self._rank(self._params, packed, stream_key(self._root, Stream.PRIORITIZE, step)))
