"""A kind of critics is one file and one line: one with a state that is not trained, from its flag to its export."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import pytest

from lsp import agents, cli, run
from lsp.agents import sac_lsp, transfer
from lsp.agents.critics import registry
from lsp.agents.learner import LearnerState
from lsp.agents.parts import make_flat
from lsp.config import ConfigError, CriticConfig
from lsp.config.registries import CRITICS
from lsp.export import load_policy
from lsp.storage import checkpoint
from lsp.training.device import example_transition
from tests.support import running_statistics
from tests.support.builders import SPEC, make_batch, tiny_config
from tests.support.runs import assert_same_state, command, newest
from tests.support.runs import compiled_once as compiled_once

BATCH = make_batch(np.random.default_rng(1), size=16, discount=0.9)
KEY = jax.random.key(3)
PRESETS = pytest.mark.parametrize("preset", ["modern", "dissertation"])
POINT_MASS = {
    "env": "lsp/PointMass-v0", "env-kwargs": "{}", "block": 4, "replay.capacity": 300, "checkpoint-every": 0,
    "layers": 2, "layer-steps": "120,120", "growth.critic-warmup": 10, "critic.kind": running_statistics.NAME,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """The one line: what is legal is read from the registry when `lsp.config` is imported, which was before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CRITICS, running_statistics.NAME, running_statistics.MODULE)
        patch.setitem(CriticConfig.__annotations__, "kind", Literal[tuple(CRITICS)])
        yield


def states(state: LearnerState) -> dict[str, Any]:
    return state.actor.critic_states


def updated(agent: Any, state: LearnerState, count: int) -> LearnerState:
    """After `count` updates on one batch."""
    scan = jax.jit(partial(jax.lax.scan, lambda state, key: agent.update(state, BATCH, key)))
    return scan(state, jax.random.split(KEY, count))[0]


@pytest.mark.parametrize("kind", ["scalar", "categorical", running_statistics.NAME])
def test_every_kind_can_be_made_and_asked_for(kind: str) -> None:
    assert cli.parse([f"--critic.kind={kind}"]).config.critic.kind == kind
    critics = registry.make_critics(tiny_config(**{"critic.kind": kind}))
    params = critics.critic.init(KEY, np.zeros(3), np.zeros(2))
    outputs = critics.critic.apply(params, critics.critic.init_state(params, np.zeros(3), np.zeros(2)), *BATCH[0][:2])
    assert critics.head.values(outputs).shape == (2, 16)


def test_a_misspelt_kind_is_told_the_nearest(capfd: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--critic.kind=catgorical"]) == 2
    told = capfd.readouterr().err
    assert "--critic.kind=catgorical: must be scalar, categorical or running; did you mean categorical?" in told
    with pytest.raises(ConfigError, match="did you mean running"):
        cli.parse(["--critic.kind=runing"])


@pytest.mark.slow
@PRESETS
def test_the_state_is_what_every_update_makes_of_it(preset: str) -> None:
    """Running means of the critics' inputs; V has its own. Targets and ranking read it: other statistics, other TD."""
    config = tiny_config(preset, **{"critic.kind": "running", "normalize.observations": False, "critic.space": "env"})
    agent = sac_lsp.make_agent(config, SPEC)
    fresh = jax.jit(agent.init)(jax.random.key(0))
    after = updated(agent, fresh, 4)
    observation, action = BATCH.transitions.observation, np.tanh(BATCH.transitions.action)
    inputs = {"critic": np.concatenate([observation, action], axis=-1), "value": observation}
    assert set(states(after)) == ({"critic"} if preset == "modern" else {"critic", "value"})
    for name, found in states(after).items():
        share = 1 - (1 - running_statistics.STEP) ** 4
        np.testing.assert_allclose(found.mean, share * inputs[name].mean(axis=0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.variance, 1 - share + share * inputs[name].var(axis=0), rtol=1e-4)
    swapped = fresh._replace(actor=fresh.actor._replace(critic_states=states(after)))
    ranked = [jax.jit(agent.priority)(state.actor, BATCH.transitions, KEY) for state in (fresh, swapped)]
    assert np.abs(ranked[0] - ranked[1]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
def test_growth_keeps_the_state_with_the_critics_and_warming_up_moves_it(keep: bool) -> None:
    config = tiny_config(**{"critic.kind": "running", "growth.keep_critics": keep, "replay.capacity": 64})
    config = dataclasses.replace(config, replay=dataclasses.replace(config.replay, batch_size=8))
    recipe = agents.build(config, SPEC)
    old = updated(recipe.agent, jax.jit(recipe.agent.init)(jax.random.key(0)), 2)
    new = agents.build(config, SPEC, (transfer.freeze(recipe.config, SPEC, old),), stage=1)

    @jax.jit
    def grow(old: LearnerState, key: jax.Array) -> tuple[LearnerState, LearnerState, LearnerState]:
        grown = transfer.grow(config, SPEC, new, old, key)
        memory = new.replay.add(new.replay.init(example_transition(SPEC)), BATCH.transitions, np.zeros(16))
        keys = jax.random.split(key, 3)
        warm, _ = transfer.warm_up(make_flat(new.config, SPEC), new, grown, memory, keys)
        return grown, warm, new.agent.init(key)

    grown, warm, fresh = grow(old, KEY)
    jax.tree.map(np.testing.assert_array_equal, states(grown), states(old if keep else fresh))
    assert np.all(states(warm)["critic"].mean != states(grown)["critic"].mean)


@pytest.mark.slow
def test_seeds_side_by_side_have_states_of_their_own() -> None:
    agent = sac_lsp.make_agent(tiny_config(**{"critic.kind": "running"}), SPEC)
    keys = jax.random.split(KEY, 2)
    first = jax.jit(jax.vmap(agent.init))(keys)
    moved = first._replace(actor=first.actor._replace(critic_states=jax.tree.map(
        lambda leaf: leaf * np.float32([[1.0], [2.0]]), states(first)
    )))  # fmt: skip
    both = jax.jit(jax.vmap(agent.update, in_axes=(0, None, 0)))(moved, BATCH, keys)[0]
    for i in range(2):
        alone = jax.jit(agent.update)(jax.tree.map(lambda leaf, i=i: leaf[i], moved), BATCH, keys[i])[0]
        for ours, theirs in zip(jax.tree.leaves(states(both)), jax.tree.leaves(states(alone)), strict=True):
            np.testing.assert_allclose(ours[i], theirs, rtol=1e-5)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, compiled_once: None, registered: None) -> Path:
    """Two layers in one run, without a stop."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    assert run.main(command(folder, **POINT_MASS)) == 0
    return folder


def statistics(folder: Path) -> np.ndarray:
    """Those of Q in the newest checkpoint: means and variances."""
    learner = checkpoint.load(newest(folder))[0]["learner"]
    return np.concatenate([learner[f".actor.critic_states['critic'].{name}"] for name in ("mean", "variance")])


@pytest.mark.slow
def test_a_run_stopped_and_resumed_is_the_run_that_was_not(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    assert run.main(command(folder, **POINT_MASS | {"layer-steps": "120,60"})) == 0
    before = statistics(folder)
    assert run.main([f"--resume={folder}", "--steps=240"]) == 0
    assert np.all(statistics(folder) != before)
    assert_same_state(straight, folder)


@pytest.mark.slow
def test_a_seed_among_many_is_its_single_run(straight: Path, tmp_path: Path) -> None:
    """Up to rounding, which growth and 200 updates make larger."""
    assert run.main(command(tmp_path / "many", **POINT_MASS, seeds=2)) == 0
    first, second = (statistics(folder) for folder in sorted((tmp_path / "many").glob("seed_*")))
    np.testing.assert_allclose(first, statistics(straight), rtol=0.01, atol=0.01)
    assert not np.allclose(first, second, rtol=0.01, atol=0.01)


@pytest.mark.slow
def test_a_policy_is_exported_without_its_critics(straight: Path) -> None:
    policy = load_policy(straight)
    action = policy(np.zeros(4, np.float32))
    assert action.shape == (2,)
    assert np.all(np.isfinite(action))
