"""From one layer to the next: what the learner keeps, and what stored experience means to the new layer.

A layer that is frozen is a bijection for every observation, so each stored transition is an exact transition of the
problem that the next layer sees: its action is the latent that yields the stored one. A critic on environment actions
serves every layer.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from lsp.agents import learner
from lsp.agents.learner import FlatParams, LearnerState
from lsp.agents.parts import make_flat
from lsp.agents.stack import Layer
from lsp.config import Config, StageConfig
from lsp.hierarchy import Frozen
from lsp.types import Array, EnvSpec, Key, Recipe, ReplayState

CRITICS = ("critic", "value")


def reinitialised(config: Config) -> tuple[str, ...]:
    """Networks that are reinitialised for each further layer. The temperature is none of them."""
    growth = config.growth
    return ("policy",) * growth.add_layer + (() if growth.keep_critics else CRITICS)


def freeze(config: StageConfig, spec: EnvSpec, state: LearnerState) -> Layer:
    """The layer in training as it stands, `config` being its own: parameters, and statistics of observations."""
    params = learner.segment(make_flat(config, spec), state.actor.params, "policy")
    values = Frozen(params, state.actor.observation_stats)
    return Layer(config.flow, spec, config.normalize.observations, jax.tree.map(jnp.array, values))


def with_values(layers: Sequence[Layer], state: LearnerState) -> tuple[Layer, ...]:
    """`layers` with the values that a learner holds of them."""
    values = jax.tree.map(jnp.array, state.actor.layers)
    return tuple(layer._replace(values=value) for layer, value in zip(layers, values, strict=True))


def grow(
    config: Config, spec: EnvSpec, recipe: Recipe, old: LearnerState, key: Key, same_reward: bool = True
) -> LearnerState:
    """The first state of the learner of `recipe`, which keeps of `old` what the configuration says.

    Temperature and statistics of observations are always kept; so is the layer, where none is added. What critics keep
    beside their parameters is kept with them.

    Args:
      config: of the whole run, as it applies to this growth (`lsp.config.stages.at_growth`).
      spec: sizes.
      recipe: built for the new stage. Values of frozen layers are taken from `old`, so that seeds can grow together.
      old: the learner's state before.
      key: consumed.
      same_reward: whether statistics of returns, and the reach of the critics' support, are kept, too. New critics have
        theirs fitted to the statistics until their first update (`lsp.agents.support.fit`).
    """
    new, names = recipe.agent.init(key), reinitialised(config)
    flat = make_flat(recipe.config, spec)
    is_new = learner.by_name(flat, {name: name in names for name in flat.sizes})
    top = Frozen(learner.segment(flat, old.actor.params, "policy"), old.actor.observation_stats)
    critics = old.actor if config.growth.keep_critics else new.actor
    actor = new.actor._replace(
        params=jnp.where(is_new, new.actor.params, old.actor.params),
        target=critics.target,
        critic_states=critics.critic_states,
        observation_stats=old.actor.observation_stats,
        return_stats=old.actor.return_stats if same_reward else new.actor.return_stats,
        support=old.actor.support if same_reward else new.actor.support,
        layers=(*old.actor.layers, top) if config.growth.add_layer else old.actor.layers,
    )
    if not names:
        return LearnerState(actor, old.opt_state)
    return LearnerState(actor, learner.grow_optimizer(flat, old.opt_state, new.opt_state, names))


def warm_up(
    flat: FlatParams, recipe: Recipe, state: LearnerState, replay: ReplayState, keys: Key
) -> tuple[LearnerState, ReplayState]:
    """One update of the critics alone for each of `keys` [n]; returns the learner and its replay."""

    def one(carry: tuple[LearnerState, ReplayState], key: Key) -> tuple[tuple[LearnerState, ReplayState], None]:
        before, memory = carry
        sample_key, update_key = jax.random.split(key)
        batch = recipe.replay.sample(memory, sample_key)
        after, info = recipe.agent.update(before, batch, update_key)
        memory = recipe.replay.update_priorities(memory, batch.indices, info.priorities)
        return (_critics_only(flat, before, after), memory), None

    return jax.lax.scan(one, (state, replay), keys)[0]


def _critics_only(flat: FlatParams, before: LearnerState, after: LearnerState) -> LearnerState:
    """`after`, but with policy and temperature, and all that Adam knows of them, of `before`."""
    learned = learner.by_name(flat, {name: name in CRITICS for name in flat.sizes})

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(learned, new, old)

    adam, *counts, last = after.opt_state
    old_adam, *old_counts, _ = before.opt_state
    adam = adam._replace(mu=choose(adam.mu, old_adam.mu), nu=choose(adam.nu, old_adam.nu))
    for i, old in enumerate(old_counts):
        others = {name: count for name, count in old.reinitialised.items() if name not in CRITICS}
        counts[i] = counts[i]._replace(reinitialised=counts[i].reinitialised | others)
    params = choose(after.actor.params, before.actor.params)
    return LearnerState(after.actor._replace(params=params), (adam, *counts, last))
