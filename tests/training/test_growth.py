"""Whole runs of two layers: stopped and resumed, they are the run that was not; and runs on layers of others."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp import export, run
from lsp.storage import checkpoint, layer_files, metrics
from tests.support.runs import assert_same_run, assert_same_state, command, newest, records, signal_at, snapshot
from tests.support.runs import compiled_once as compiled_once

POINT_MASS = {
    "env": "lsp/PointMass-v0",
    "env-kwargs": "{}",
    "block": 4,
    "replay.capacity": 300,
    "checkpoint-every": 0,
}
GROWING = {"layers": 2, "layer-steps": "208,96", "growth.critic-warmup": 10, "evaluation.every": 1000}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_once")]


def flags(folder: Path, **overrides: Any) -> list[str]:
    return command(folder, **POINT_MASS | overrides)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, compiled_once: None) -> Path:
    """Two layers in one run, without a stop."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    assert run.main(flags(folder, **GROWING)) == 0
    return folder


def test_two_layers_in_one_run(straight: Path) -> None:
    lines = metrics.read(straight / "metrics.jsonl")
    assert [line["layer"] for line in lines] == [0] * 10 + [1] * 5
    assert all(line["dropped"] == 0 for line in lines)
    assert {"kl", "log_det", "log_det/0"} <= lines[-1].keys()
    before, after = ([line for line in metrics.read(straight / "eval.jsonl")[:4] if line["layer"] == i] for i in (0, 1))
    assert [line["step"] for line in (*before, *after)] == [208] * 4
    for old, new in zip(before, after, strict=True):  # the new layer starts as the identity
        np.testing.assert_allclose(new["returns"], old["returns"], rtol=1e-4)
        assert new["updates"] == old["updates"] + 10
    host = checkpoint.load(newest(straight))[1]
    assert host["replay_size"] == 304 - 8  # but those that three-step returns hold back, and that wait for a dispatch
    assert lines[-1]["updates"] == 10 + (304 - 50) // 8 * 8


def test_categorical_critics_go_on(tmp_path: Path) -> None:
    """Growth is compiled, and with it what new critics would begin with; the support stays as wide as it became."""
    changes = {"critic.kind": "categorical", "critic.v-min": "-0.1", "critic.v-max": "0.1"}
    assert run.main(flags(tmp_path / "laws", **GROWING | changes)) == 0
    lines = metrics.read(tmp_path / "laws" / "metrics.jsonl")
    learned = [line for line in lines if "support_scale" in line]
    below, above = ([line["support_scale"] for line in learned if line["layer"] == i] for i in (0, 1))
    assert 1 < below[-1] <= above[0]


def test_frozen_layers_are_those_of_the_checkpoint(straight: Path) -> None:
    bottom, top = layer_files.load(straight)
    learner = checkpoint.load(newest(straight))[0]["learner"]
    stats, later = bottom.values.observation_stats, top.values.observation_stats
    np.testing.assert_array_equal(bottom.values.params, learner[".actor.layers[0].params"])
    np.testing.assert_array_equal(stats.mean, learner[".actor.layers[0].observation_stats.mean"])
    np.testing.assert_array_equal(later.mean, learner[".actor.observation_stats.mean"])
    assert (stats.count, later.count) == (200, 296)
    assert np.any(top.values.params != bottom.values.params)


def test_stopped_and_resumed(straight: Path, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """With rows of the first layer still on their way, and later."""
    folder = tmp_path / "stopped"
    arguments = flags(folder, **GROWING)
    for step in (210, 258):
        with monkeypatch.context() as patch:
            signal_at(patch, step, signal.SIGINT)
            assert run.main(arguments) == 130
        assert newest(folder).name == str(step)
        arguments = [f"--resume={folder}"]
    assert run.main(arguments) == 0
    assert "resuming at step 258 of 304" in capfd.readouterr().err
    assert_same_run(straight, folder)
    assert snapshot(folder / "layers") == snapshot(straight / "layers")


def test_a_finished_run_goes_on_with_another_layer(straight: Path, tmp_path: Path, capfd: Any) -> None:
    """And is then the run of two layers."""
    folder = tmp_path / "finished"
    growing = {**GROWING, "layers": 1, "layer-steps": 0}
    assert run.main(flags(folder, **growing, steps=208)) == 0
    assert run.main([f"--resume={folder}", "--layers=2", "--steps=304"]) == 2
    assert "such as --layer-steps=208,96" in capfd.readouterr().err
    assert run.main([f"--resume={folder}", "--layers=2", "--layer-steps=208,96"]) == 0
    assert_same_run(straight, folder)
    assert snapshot(folder / "layers") == snapshot(straight / "layers")


def test_the_study_s_growth_on_layers_of_another_run(straight: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Everything fresh, critics of latents, likelihood ratio; two more layers on the two, and stopped on the way."""
    study = {
        "preset": "dissertation", "from-layers": straight, "layers": 2, "layer-steps": "80,120", "n-step": 1,
        "block": 1, "normalize.rewards": "false",
    }  # fmt: skip
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run.main(flags(whole, **study)) == 0
    with monkeypatch.context() as patch:
        signal_at(patch, 104, signal.SIGINT)
        assert run.main(flags(stopped, **study)) == 130
    assert run.main([f"--resume={stopped}"]) == 0
    assert_same_run(whole, stopped)
    layers = layer_files.load(whole)
    assert len(layers) == 4
    for old, new in zip(layer_files.load(straight), layers, strict=False):
        np.testing.assert_array_equal(old.values.params, new.values.params)
        assert old[:3] == new[:3]
    lines = metrics.read(whole / "metrics.jsonl")
    updates = {line["step"]: line["updates"] for line in lines}
    assert [line["layer"] for line in lines] == [2] * 4 + [3] * 6
    assert updates[80] == updates[120] == 30  # learning waits for 50 steps of the new layer
    assert updates[200] == 30 + 70
    assert checkpoint.load(newest(whole))[1]["replay_size"] == 120


def test_flows_of_other_kinds_grow_on_each_other(straight: Path, tmp_path: Path) -> None:
    """Splines on real-NVPs, a spline on a spline, a real-NVP on splines; the last policy is exported."""
    growing, splines, mixed = GROWING | {"layer-steps": "104,96", "layers": 2}, tmp_path / "splines", tmp_path / "mixed"
    assert run.main(flags(splines, **growing | {"from-layers": straight, "flow.kind": "spline"})) == 0
    assert run.main(flags(mixed, **growing | {"from-layers": splines})) == 0
    layers = layer_files.load(mixed)
    assert [layer.config.kind for layer in layers] == ["real_nvp"] * 2 + ["spline"] * 2 + ["real_nvp"] * 2
    for folder in (splines, mixed):
        assert all(line["dropped"] == 0 for line in metrics.read(folder / "metrics.jsonl"))
        evaluations = [line for line in metrics.read(folder / "eval.jsonl") if line["step"] == 104]
        before, after = evaluations[:2], evaluations[2:]
        for old, new in zip(before, after, strict=True):  # the new layer starts as the identity
            np.testing.assert_allclose(new["returns"], old["returns"], rtol=1e-3)
    actor = export.load_actor(mixed)
    spec = actor.spec
    rng = np.random.default_rng(0)
    s, latent = (rng.normal(size=(6, n)).astype(np.float32) for n in (spec.observation_dim, spec.action_dim))
    expected = np.asarray(actor.agent.act_latent(actor.params, s, latent).env_action)
    np.testing.assert_allclose(export.to_numpy(actor).squashed(s, latent), expected, rtol=1e-3, atol=1e-4)


def test_controls_run(straight: Path, tmp_path: Path) -> None:
    """A flat policy with fresh critics at another scale; a random layer below, frozen before the first step."""
    flat = tmp_path / "flat"
    control = ["--no-growth.add-layer", "--no-growth.keep-critics", "--growth.reward-scale=0.5"]
    assert run.main([*flags(flat, **GROWING), *control]) == 0
    assert [line["layer"] for line in metrics.read(flat / "metrics.jsonl")] == [0] * 15
    assert len(layer_files.load(flat)) == 1
    random = tmp_path / "random"
    assert run.main(flags(random, **GROWING | {"layer-steps": "0,100"})) == 0
    assert [line["layer"] for line in metrics.read(random / "metrics.jsonl")] == [1] * 5


def test_a_layer_of_another_reward(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """Neither rows nor critics of the old reward go on, whatever the flags say; stopped on the way, and elsewhere."""
    another = GROWING | {"layer-rewards": "2*env,", "env-kwargs": '{"max_episode_steps": 16}', "executors.count": 2}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run.main(flags(whole, **another)) == 0
    assert "whose reward is another: replay and critics are reinitialised" in capfd.readouterr().err
    with monkeypatch.context() as patch:
        signal_at(patch, 210, signal.SIGINT)
        elsewhere = {"executors.engine": "process", "executors.workers": 2}
        assert run.main(flags(stopped, **another | elsewhere)) == 130
    assert run.main([f"--resume={stopped}", "--executors.engine=inproc", "--executors.workers=0"]) == 0
    assert_same_state(whole, stopped)
    for name in ("metrics.jsonl", "eval.jsonl"):
        assert records(whole / name)[-1] == records(stopped / name)[-1]
    lines = metrics.read(whole / "metrics.jsonl")
    for line in (line for line in lines if line["episodes"]):
        assert (line["layer"] == 0) == ("layer_return" in line)
        assert line.get("layer_return", 2 * line["return"]) == pytest.approx(2 * line["return"])
    updates = {line["step"]: line["updates"] for line in lines}
    assert updates[220] == updates[240] == (208 - 50) // 8 * 8  # no warm-up, and learning waits for 50 steps
    assert updates[300] == updates[240] + (300 - 208 - 50) // 8 * 8
    arrays, host = checkpoint.load(newest(whole))
    # None from before; n-step returns hold back two an executor, and two wait for a dispatch.
    assert host["replay_size"] == arrays["learner"][".actor.return_stats.count"] == 96 - 4 - 4
    assert arrays["learner"][".actor.observation_stats.count"] == 200 + 88


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"from-layers": "/nowhere"}, "/nowhere has no layers to build on: there is no such folder"),
        ({"env": "lsp/RllabAnt-v0"}, "its layers have 2 actions and this environment has 8"),
        ({"env": "Reacher-v5"}, "its layers see observations of 4 numbers and this environment has 10"),
    ],
)
def test_layers_refused(straight: Path, tmp_path: Path, capfd: Any, overrides: dict[str, str], message: str) -> None:
    folder = tmp_path / "refused"
    assert run.main(flags(folder, **{"from-layers": straight} | overrides)) == 2
    err = capfd.readouterr().err
    assert err.startswith("lsp: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not folder.exists()
