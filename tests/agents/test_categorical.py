"""Agent `categorical`: its presets, and whole updates of it."""

import dataclasses
from functools import lru_cache
from typing import Any

import jax
import numpy as np
import pytest

from lsp import agents
from lsp.agents import sac_lsp
from lsp.config import CriticConfig
from lsp.types import UpdateInfo
from tests.support.builders import SPEC, make_batch, tiny_config

MODERN = {"kind": "categorical", "num_atoms": 101, "support": "adaptive", "v_min": -5.0, "v_max": 5.0}
STUDY = {"kind": "categorical", "num_atoms": 51, "support": "even", "v_min": -100.0, "v_max": 5000.0}
BATCH = make_batch(np.random.default_rng(1), size=16)
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("preset", "critic"),
    [
        ("modern", MODERN | {"distribution_target": "soft", "logit_scale": 0.1}),
        ("dissertation", STUDY | {"distribution_target": "as_written", "logit_scale": 1.0}),
    ],
)
def test_presets(preset: str, critic: dict[str, Any]) -> None:
    """They never drift, and change nothing else of the base agent."""
    config, base = agents.presets("categorical", preset), agents.presets("sac_lsp", preset)
    assert {name: getattr(config.critic, name) for name in critic} == critic
    plain = {name: getattr(CriticConfig(), name) for name in critic}
    changed = dataclasses.replace(config.critic, **plain)
    assert dataclasses.replace(config, agent="sac_lsp", critic=changed) == base


@lru_cache
def learned(preset: str, target: str, priority: str = "td") -> tuple[UpdateInfo, UpdateInfo, Any]:
    """What the first and the last of 200 updates on one batch reported, and the batch's priorities afterwards."""
    critic: dict[str, Any] = {"kind": "categorical", "distribution_target": target}
    critic |= {"learning_rate": 0.01, "logit_scale": 1.0}
    if (preset, target) == ("modern", "soft"):
        critic |= {"num_atoms": 101, "v_min": -2000.0, "v_max": 2000.0, "support": "symexp"}
    else:
        critic |= {"num_atoms": 21, "v_min": -20.0, "v_max": 20.0, "support": "even"}
    changes = {f"critic.{name}": value for name, value in critic.items()}
    changes |= {"replay.priority": priority, "reward_scale": 1.0}
    agent = sac_lsp.make_agent(tiny_config(preset, **changes), SPEC)

    @jax.jit
    def learn(key: jax.Array) -> Any:
        keys = jax.random.split(key, 200)
        state, infos = jax.lax.scan(lambda state, key: agent.update(state, BATCH, key), agent.init(key), keys)
        first, last = (jax.tree.map(lambda leaf, i=i: leaf[i], infos) for i in (0, -1))
        return first, last, agent.priority(state.actor, BATCH.transitions, KEY)

    return learn(KEY)


CASES = [("modern", "soft", "td"), ("modern", "hl_gauss", "kl"), ("dissertation", "soft", "td")]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_updates_fit_the_targets(case: tuple[str, str, str]) -> None:
    """Pathwise with target critics, and by likelihood ratio with a categorical V."""
    _, info, _ = learned(*case)
    assert all(np.isfinite(value) and np.shape(value) == () for value in info.metrics.values())
    assert info.metrics["td_error"] < 0.5
    assert info.metrics["distribution_kl"] < 0.2
    np.testing.assert_allclose(info.metrics["q"], info.metrics["target"], atol=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES[:2])
def test_priorities_are_what_replay_asks_for(case: tuple[str, str, str]) -> None:
    """Mean |TD error| of the means, or the mean divergence: in the report, the metric of that name."""
    _, info, ranked = learned(*case)
    name = {"td": "td_error", "kl": "distribution_kl"}[case[-1]]
    assert info.priorities.shape == ranked.shape == (16,)
    np.testing.assert_allclose(np.mean(info.priorities), info.metrics[name], rtol=1e-4)
    assert np.all(ranked >= 0)


@pytest.mark.slow
def test_a_new_distribution_is_around_zero() -> None:
    """On 101 atoms up to 2000, random logits would start the critics at means of some 100."""
    first, _, _ = learned(*CASES[0])
    assert abs(first.metrics["q"]) < 1e-2
    assert first.metrics["edge_mass"] < 1e-3
    assert first.metrics["return_std"] < 40


@pytest.mark.slow
def test_the_study_s_loss_as_written_forgets_the_return() -> None:
    """After as many updates its distributions are all but uniform, at the middle of the support whatever the reward."""
    first, info, _ = learned("dissertation", "as_written")
    assert first.metrics["distribution_entropy"] < info.metrics["distribution_entropy"]
    assert info.metrics["distribution_entropy"] > 0.97 * np.log(21)
    assert "edge_mass" not in info.metrics
