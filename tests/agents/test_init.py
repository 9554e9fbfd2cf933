"""The registry builds agents that learn, and every switch of a configuration reaches the program that runs."""

import dataclasses
import math
import re
from functools import lru_cache
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import agents
from lsp.agents.sac_lsp import make_agent
from lsp.config import Config
from tests.support.builders import SPEC, make_batch, tiny_config

BATCH = make_batch(np.random.default_rng(0))
SWITCHES: dict[str, Any] = {
    "gamma": None,  # the executors' business: replay holds discounts
    "reward_scale": 3.0,
    "flow.kind": "spline",
    "flow.num_couplings": 3,
    "flow.hidden_sizes": (5,),
    "flow.embedding_sizes": (5,),
    "flow.activation": "tanh",
    "flow.separate_nets": True,
    "flow.max_log_scale": math.inf,
    "flow.zero_init": True,
    "flow.bias_std": 1.0,
    "flow.log_det": "approximate",
    "flow.linear_embedding": True,
    "flow.num_bins": 4,
    "flow.tail_bound": 2.0,
    "critic.kind": "categorical",
    "critic.num_atoms": 11,
    "critic.support": "even",
    "critic.v_min": -30.0,
    "critic.v_max": 30.0,
    "critic.distribution_target": "hl_gauss",
    "critic.logit_scale": 0.5,
    "critic.count": 3,
    "critic.hidden_sizes": (8,),
    "critic.layer_norm": False,
    "critic.value_network": True,
    "critic.target": "mean",
    "critic.target_min": -1.0,
    "critic.target_max": 1.0,
    "critic.loss": "huber",
    "critic.huber_delta": 2.0,
    "critic.tau": 0.5,
    "critic.learning_rate": 0.1,
    "critic.space": None,  # tells upper layers apart; the bottom layer's action is the environment's
    "policy.gradient": "likelihood_ratio",
    "policy.q": "first",
    "policy.prior": "normal",
    "policy.learning_rate": 0.1,
    "temperature.learned": False,
    "temperature.initial": 0.3,
    "temperature.target_entropy_per_dim": -2.0,
    "temperature.learning_rate": 0.1,
    "normalize.observations": False,
    "normalize.rewards": True,
}
OF_DISTRIBUTIONS = ("num_atoms", "support", "v_min", "v_max", "distribution_target", "logit_scale")
NEEDS: dict[str, tuple[tuple[str, Any], ...]] = {
    **{f"critic.{name}": (("critic.kind", "categorical"),) for name in OF_DISTRIBUTIONS},
    "critic.huber_delta": (("critic.loss", "huber"),),
    **{f"flow.{name}": (("flow.kind", "spline"),) for name in ("num_bins", "tail_bound")},
    "policy.gradient": (("critic.value_network", True),),  # V is the likelihood ratio's baseline
}
"""What a switch has no meaning without."""


def program(config: Config) -> str:
    """What `init` and `update` compute, as text. That there is one proves that their shapes fit together."""
    agent = make_agent(config, SPEC)
    init, state = jax.make_jaxpr(agent.init, return_shape=True)(jax.random.key(0))
    update, (new_state, info) = jax.make_jaxpr(agent.update, return_shape=True)(state, BATCH, jax.random.key(0))
    chex.assert_trees_all_equal_shapes_and_dtypes(state, new_state)
    assert info.priorities.shape == BATCH.weights.shape
    constants = [np.asarray(constant).tolist() for constant in update.consts]
    return re.sub(r"0x[0-9a-f]+", "", f"{init}{update}{constants}")


@lru_cache
def base(needs: tuple[tuple[str, Any], ...]) -> str:
    return program(tiny_config(**dict(needs)))


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_reaches_the_program(name: str) -> None:
    needs = NEEDS.get(name, ())
    if SWITCHES[name] is None:
        other = {"gamma": 0.5, "critic.space": "layer"}[name]
        assert program(tiny_config(**dict(needs), **{name: other})) == base(needs)
    else:
        assert program(tiny_config(**dict(needs), **{name: SWITCHES[name]})) != base(needs)


def test_no_switch_is_forgotten() -> None:
    sections = ("flow", "critic", "policy", "temperature", "normalize")
    config = Config()
    fields = {f"{name}.{field.name}" for name in sections for field in dataclasses.fields(getattr(config, name))}
    assert fields == {name for name in SWITCHES if "." in name}


@pytest.mark.slow
def test_opposite_choices_combine() -> None:
    """Every second choice that pathwise gradients allow, at once, through a compiled update."""
    left_out = ("policy.gradient", "flow.zero_init")
    flipped = {name: value for name, value in SWITCHES.items() if value is not None and name not in left_out}
    agent = make_agent(tiny_config(**flipped), SPEC)

    @jax.jit
    def learn(key: jax.Array) -> Any:
        return agent.update(agent.init(key), BATCH, key)

    state, info = learn(jax.random.key(0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, info)))
    np.testing.assert_allclose(info.metrics["alpha"], 0.3, rtol=1e-6)


def test_build_pairs_agent_and_replay(key: jax.Array) -> None:
    """`replay.sample` feeds `agent.update` as it is."""
    config = tiny_config(**{"replay.capacity": 16, "replay.batch_size": 4})
    recipe = agents.build(config, SPEC)
    assert recipe.config == config
    example = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), BATCH.transitions)

    def learn(key: jax.Array) -> tuple[Any, jax.Array]:
        memory = recipe.replay.add(recipe.replay.init(example), BATCH.transitions, jnp.ones(6))
        batch = recipe.replay.sample(memory, key)
        return recipe.agent.update(recipe.agent.init(key), batch, key)[1].priorities, recipe.replay.size(memory)

    priorities, size = jax.eval_shape(learn, key)
    assert priorities.shape == (4,)
    assert size.shape == ()


def test_presets_are_those_of_the_registry() -> None:
    for name in agents.AGENTS:
        assert agents.presets(name).preset == "modern"
        assert agents.presets(name, "dissertation").policy.gradient == "likelihood_ratio"
