"""Which losses have importance weights where nobody says, and that draws by priority then teach the right means."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.agents import presets
from lsp.config import Config, validate
from lsp.config.replay import weights_of
from lsp.losses import critic_loss
from lsp.replay.registry import make_replay
from lsp.training.device import example_transition
from lsp.types import Array
from tests.support.builders import SPEC

ROWS = 1000


def config_of(critic: dict[str, Any], replay: dict[str, Any]) -> Config:
    config = presets("prioritized")
    replay = {"capacity": ROWS, "batch_size": ROWS, "beta": 1.0} | replay
    return validate(
        dataclasses.replace(
            config,
            critic=dataclasses.replace(config.critic, **critic),
            replay=dataclasses.replace(config.replay, **replay),
        )
    )


@pytest.mark.parametrize(
    ("critic", "replay", "expected"),
    [
        ({}, {}, "none"),
        ({"huber_delta": 10.0}, {}, "none"),
        ({"loss": "mse"}, {}, "all"),
        ({"kind": "categorical"}, {}, "all"),
        ({"kind": "categorical"}, {"priority": "kl"}, "all"),
        ({}, {"priority": "td"}, "all"),
        ({}, {"scheme": "rank"}, "all"),
        ({"loss": "mse"}, {"weights": "none"}, "none"),
        ({}, {"weights": "q"}, "q"),
    ],
    ids=str,
)
def test_weights_are_left_out_only_where_the_loss_makes_up_for_them(
    critic: dict[str, Any], replay: dict[str, Any], expected: str
) -> None:
    config = config_of(critic, replay)
    assert weights_of(config.replay, config.critic) == expected


def mean_loss(config: Config, targets: Array, weights: Array, value: Array) -> Array:
    """Of one prediction for all targets, by weights whose mean is 1."""
    loss, delta = config.critic.loss, config.critic.huber_delta
    return critic_loss(jnp.full((1, ROWS), value), targets, weights, loss, delta)[0] / jnp.mean(weights)


def learned(config: Config, targets: Array, steps: int = 400) -> float:
    """The one prediction at which the loss of drawn targets, priorities updated at every step, has no gradient."""
    memory = make_replay(config, SPEC)
    example = example_transition(SPEC)
    chunk = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (ROWS, *leaf.shape)), example)._replace(reward=targets)
    state = memory.add(memory.init(example), chunk, jnp.ones(ROWS))
    loss, delta = config.critic.loss, config.critic.huber_delta

    def step(i: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
        state, value = carry
        priorities = jnp.abs(targets - value) / (delta if loss == "huber" else 1.0)
        state = memory.update_priorities(state, jnp.arange(ROWS), priorities)
        batch = memory.sample(state, jax.random.fold_in(jax.random.key(0), i))
        slope = jax.grad(mean_loss, argnums=3)(config, batch.transitions.reward, batch.weights, value)
        return state, value - 2.0 / (i + 4.0) * slope

    return float(jax.jit(lambda state: jax.lax.fori_loop(0, steps, step, (state, jnp.float32(5.0))))(state)[1])


@pytest.mark.slow
def test_squared_error_learns_the_mean_whatever_is_drawn() -> None:
    """y = 0 (90 %) or 10 (10 %): 1. Without weights, LAP's priorities teach 1.72 (spec/audit.md, B1)."""
    targets = jnp.asarray(np.where(np.arange(ROWS) % 10 == 0, 10.0, 0.0), jnp.float32)
    for priority in ("lap", "td"):
        assert learned(config_of({"loss": "mse"}, {"priority": priority}), targets) == pytest.approx(1.0, abs=0.05)
    wrong = learned(config_of({"loss": "mse"}, {"weights": "none"}), targets)
    assert wrong == pytest.approx(1.72, abs=0.06)


def test_lap_with_a_wide_threshold_learns_the_mean() -> None:
    """Within Huber's threshold LAP draws uniformly and the loss is squared error: whatever is rare counts in full.

    With threshold 1, y = 300 (90 %) or 0 (10 %) learns 298.8 instead of 270 (spec/audit.md, B2).
    """
    targets = jnp.asarray(np.where(np.arange(ROWS) % 10 == 0, 0.0, 300.0), jnp.float32)
    assert learned(config_of({"huber_delta": 300.0}, {}), targets) == pytest.approx(270.0, abs=6.0)
