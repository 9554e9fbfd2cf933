"""A folder a seed, each like a single run's; stopped, killed, or with one that fails, the others are what they were."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
import pytest

from lsp import run
from lsp.config import ConfigError
from lsp.report.runs import read_all
from lsp.storage import checkpoint, metrics
from lsp.storage.run_folder import read_config, read_document
from lsp.training import session
from lsp.training.endings import Ending
from lsp.training.loop import Loop
from lsp.training.run import env_seeds
from tests.support.runs import Puppet, assert_same_run, command, compiled_once, newest, signal_at, snapshot  # noqa: F401  # a fixture

WHOLE = {"steps": 240, "log_every": 40, "evaluation__every": 120, "checkpoint_every": 80}
WHOLE |= {"layers": 2, "layer_steps": "60,180", "growth__critic_warmup": 10}
FIRST = 30  # steps of random actions, the same to the bit in a sweep and alone

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_once")]


class Moody(Puppet):
    """Fails at its 75th step where its first seed is one of `Moody.victims`."""

    victims: ClassVar[list[int]] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        if seed in Moody.victims:
            self.event, self.at = "raise", 75
        return super().reset(seed=seed, options=options)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, compiled_once: None) -> Path:  # noqa: F811
    """Two seeds, on two devices, of two layers, without a stop."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    assert run.main(command(folder, seeds="2:4", **WHOLE)) == 0
    return folder


def test_every_seed_is_a_run(straight: Path, tmp_path: Path) -> None:
    """Same files, same environments and first actions as alone; what is learned is close until chaos parts them.

    Among the files are the two layers; growth is at the same step, and judged before and after.
    """
    assert sorted(path.name for path in straight.iterdir()) == ["seed_2", "seed_3"]
    assert run.main(command(tmp_path / "alone", seed=3, **WHOLE)) == 0
    ours, alone = straight / "seed_3", tmp_path / "alone"
    assert read_config(ours) == read_config(alone)
    assert snapshot(ours).keys() == snapshot(alone).keys()
    lines, alone_lines = (metrics.read(folder / "metrics.jsonl") for folder in (ours, alone))
    assert [line.keys() for line in lines] == [line.keys() for line in alone_lines]
    assert [line["updates"] for line in lines] == [line["updates"] for line in alone_lines]
    for line, alone_line in zip(lines[:2], alone_lines[:2], strict=True):
        del line["seconds"], alone_line["seconds"]
        assert line == pytest.approx(alone_line, rel=0.02, abs=1e-3)
    assert [line["layer"] for line in lines] == [0] + [1] * 5
    evaluations = metrics.read(ours / "eval.jsonl")
    assert [(record["step"], record["layer"]) for record in evaluations[::2]] == [(60, 0), (60, 1), (120, 1), (240, 1)]
    assert [record["seeds"] for record in evaluations] == [
        record["seeds"] for record in metrics.read(alone / "eval.jsonl")
    ]
    rows = [checkpoint.load(newest(folder))[0]["replay"] for folder in (ours, alone)]
    first, alone_first = (next(leaf for leaf in group.values() if leaf.ndim == 2) for group in rows)
    np.testing.assert_allclose(first[: FIRST - 8], alone_first[: FIRST - 8], rtol=1e-4, atol=1e-4)
    assert [each.config["seed"] for each in read_all([straight], "sampled")] == [2, 3]
    other = metrics.read(straight / "seed_2" / "metrics.jsonl")
    assert other[-1]["q"] != lines[-1]["q"]


def test_one_seed_of_several_is_the_single_run(tmp_path: Path) -> None:
    """`--seeds=1` differs from a single run by its folder: bit for bit, growth included."""
    assert run.main(command(tmp_path / "single", seed=3, **WHOLE)) == 0
    assert run.main(command(tmp_path / "seeds", seed=3, seeds=1, **WHOLE)) == 0
    assert_same_run(tmp_path / "single", tmp_path / "seeds" / "seed_3")


def test_a_seed_goes_on_alone(straight: Path, tmp_path: Path) -> None:
    shutil.copytree(straight / "seed_3", tmp_path / "seed_3")
    assert run.main([f"--resume={tmp_path / 'seed_3'}", "--steps=244"]) == 0
    assert newest(tmp_path / "seed_3").name == "244"


def test_stopped_and_resumed(straight: Path, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """At a step with rows that wait, then killed between two checkpoints of one moment: bit for bit as without."""
    folder = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        signal_at(patch, 134, signal.SIGTERM)
        assert run.main(command(folder, seeds="2:4", **WHOLE)) == 130
    assert f"--resume={folder}\n" in capfd.readouterr().out
    assert {newest(folder / f"seed_{seed}").name for seed in (2, 3)} == {"134"}
    shutil.rmtree(newest(folder / "seed_3"))
    assert run.main([f"--resume={folder}"]) == 0
    assert "resuming 2 seeds at step 80 of 240" in capfd.readouterr().err
    assert checkpoint.steps(folder / "seed_2" / "checkpoints") == [160, 240]
    for seed in (2, 3):
        assert_same_run(straight / f"seed_{seed}", folder / f"seed_{seed}")


def test_a_seed_that_fails_is_left_out(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """One seed's environment breaks; the other ends as if nothing had been, and resuming goes on with it."""
    folder, whole = tmp_path / "moody", tmp_path / "whole"
    moody = WHOLE | {"env": f"{__name__}:Moody", "env_kwargs": "{}", "seeds": "2:4", "evaluation__every": 0}
    assert run.main(command(whole, **moody)) == 0
    victim = read_config(whole / "seed_2")
    monkeypatch.setattr(Moody, "victims", [env_seeds(victim, "collect", 2)[1]])
    assert run.main(command(folder, **moody)) == 1
    out, err = capfd.readouterr()
    assert f"lsp: finished: {folder}\n" in out
    assert "lsp: error: seed 2: environment" in err
    assert "broke a leg at step 75" in err
    assert "broke" in read_document(folder / "seed_2")["failed"]
    assert f"to continue from step 148: python -m lsp.run --resume={folder / 'seed_2'}" in err
    assert newest(folder / "seed_2").name == "148"
    assert_same_run(whole / "seed_3", folder / "seed_3")
    monkeypatch.setattr(session, "_train", lambda found, _: [(each.config.seed, each.seed.step) for each in found.runs])
    assert session.resume(folder, {}) == Ending(True, [])  # as far as it can be
    assert session.resume(folder, {"steps": 244}) == [(3, 240)]
    assert session.resume(folder / "seed_2", {}) == [(2, 148)]
    assert "new episodes begin here" in capfd.readouterr().err
    assert "failed" not in read_document(folder / "seed_2")


def test_seeds_that_all_diverge(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    folder = tmp_path / "diverged"
    answer = Loop.answer

    def answer_and_break(loop: Any, seeds: Any) -> None:
        answer(loop, seeds)
        if seeds[0].step == 60:
            loop.device.state = jax.tree.map(lambda leaf: leaf * np.nan, loop.device.state)
            loop.answer = lambda seeds: None

    monkeypatch.setattr(Loop, "answer", answer_and_break)
    assert run.main(command(folder, **WHOLE | {"seeds": "2:4", "layers": 1, "layer_steps": 0})) == 1
    err = capfd.readouterr().err
    assert err.count("; the other seeds continue") == 2
    assert "lsp: error: seed 3: training diverged: actor.params is nan at step 80" in err
    assert not (folder / "seed_2" / "checkpoints").exists()
    assert run.main([f"--resume={folder}"]) == 2
    assert "every seed failed" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"seeds": "0"}, ["--seeds=0: must be a count such as 8"]),
        ({"seeds": "100_000", "replay__capacity": 1_000_000}, ["100000 seeds need", "at most"]),
    ],
    ids=lambda value: str(next(iter(value.values()))) if isinstance(value, dict) else "",
)
def test_bad_input_is_refused_before_anything_is_written(
    flags: dict[str, Any], parts: list[str], tmp_path: Path, capfd: Any
) -> None:
    assert run.main(command(tmp_path / "no", **flags)) == 2
    err = capfd.readouterr().err
    assert err.startswith("lsp: error: ")
    assert err.count("\n") == 1
    assert all(part in err for part in parts), err
    assert not (tmp_path / "no").exists()


def test_an_existing_folder_is_refused(straight: Path, capfd: Any) -> None:
    before = snapshot(straight)
    assert run.main(command(straight, seeds="2:4", **WHOLE)) == 2
    assert "exists: choose another --name" in capfd.readouterr().err
    assert snapshot(straight) == before


def test_seeds_changed_apart_cannot_go_on_together(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(straight, folder)
    document = read_document(folder / "seed_3")
    document["config"]["log_every"] = 50
    (folder / "seed_3" / "config.json").write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="differs from that of other seeds"):
        session.resume(folder, {})
