"""Whatever stops a run, it is saved and says how to continue; and continued, it is the run that was not stopped."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp import cli, run
from lsp.storage import checkpoint, metrics
from lsp.storage.metrics import JsonLines
from lsp.training import session, train
from lsp.training.evaluate import Evaluator
from lsp.training.loop import Loop
from lsp.training.progress import COMPILING
from tests.support.runs import Puppet, newest, signal_in_evaluation, stop_in_evaluation
from tests.support.toy_runs import assert_same, toy_agents, toy_command  # noqa: F401  # a fixture

WHOLE = {"steps": 160, "log_every": 40, "evaluation__every": 60, "checkpoint_every": 80}
FRAGILE = f"{__name__}:Fragile"

pytestmark = pytest.mark.usefixtures("toy_agents")


class Fragile(Puppet):
    """Raises what it is told to in its step `at`, or in each reset while it `evaluates`."""

    def __init__(self, error: str = "", at: int = 0) -> None:
        super().__init__()
        self.error, self.at = error, at

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self.error and self.steps + 1 == self.at:
            raise {
                "SystemExit": SystemExit(0),
                "MemoryError": MemoryError(),
                "Odd": type("Odd", (Exception,), {})("x"),
            }[self.error]
        return super().step(action)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, toy_agents: None) -> Path:  # noqa: F811
    """A run without a stop."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    assert run.main(toy_command(folder, **WHOLE)) == 0
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, toy_agents: None) -> Path:  # noqa: F811
    """Two such runs together."""
    folder = tmp_path_factory.mktemp("runs") / "sweep"
    assert run.main(toy_command(folder, seeds="2:4", **WHOLE)) == 0
    return folder


def test_what_a_run_says(tmp_path: Path, capfd: Any) -> None:
    """First what it trains, then that it compiles, once each; silence where that is asked for."""
    assert run.main(toy_command(tmp_path / "loud", **WHOLE)) == 0
    lines = capfd.readouterr().err.splitlines()
    labels = [line.split()[0] for line in lines]
    assert labels[:7] == ["agent", "environment", "training", "replay", "folder", "expect", "compiling:"]
    assert lines.count(f"  {COMPILING}") == 1
    assert "steps/s" not in "".join(lines[: lines.index(f"  {COMPILING}")])
    command = cli.parse(toy_command(tmp_path / "quiet", **WHOLE))
    with open(os.devnull, "w") as nowhere:
        assert session.start(command.config, tmp_path / "quiet", stream=nowhere).finished
    assert capfd.readouterr() == ("", "")
    assert_same(tmp_path / "loud", tmp_path / "quiet")


# At steps 60, 120 and 160, under two protocols.
@pytest.mark.parametrize("number", [0, 3, 5])
def test_stopped_in_an_evaluation(number: int, straight: Path, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """In the middle and at the end: nothing of it is written, and it is made again."""
    folder = tmp_path / "stopped"
    stop_in_evaluation(toy_command(folder, **WHOLE), folder, number, [60, 120, 160][number // 2], monkeypatch)
    assert f"lsp: stopped; to continue: python -m lsp.run --resume={folder}\n" in capfd.readouterr().out
    assert run.main([f"--resume={folder}"]) == 0
    assert_same(straight, folder)


@pytest.mark.parametrize("number", [1, 6, 10])
def test_stopped_in_an_evaluation_of_one_of_several(number: int, sweep: Path, tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        signal_in_evaluation(patch, number)
        assert run.main(toy_command(folder, seeds="2:4", **WHOLE)) == 130
    assert run.main([f"--resume={folder}"]) == 0
    for seed in (2, 3):
        assert_same(sweep / f"seed_{seed}", folder / f"seed_{seed}")


def closed_pipe() -> Any:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", buffering=1)


def test_a_reader_that_leaves(straight: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """The first line that training writes, and nobody reads, is that of compiling, which begins at step 54."""
    folder = tmp_path / "unread"
    with monkeypatch.context() as patch, closed_pipe() as stdout, closed_pipe() as stderr:
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", stderr)
        assert run.main(toy_command(folder, **WHOLE)) == 130
    assert newest(folder).name == "54"
    assert run.main([f"--resume={folder}"]) == 0
    assert_same(straight, folder)


def fail_once(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: Callable[..., bool], error: Exception
) -> None:
    """Let a method raise, once, where its arguments say so."""
    original, raised = getattr(owner, name), list[bool]()

    def method(*arguments: Any) -> Any:
        if not raised and when(*arguments):
            raised.append(True)
            raise error
        return original(*arguments)

    monkeypatch.setattr(owner, name, method)


FULL = OSError(errno.ENOSPC, "No space left on device", "somewhere/metrics.jsonl")


@pytest.mark.parametrize("kind", ["metrics", "eval"])
def test_a_disk_that_is_full_for_a_line(
    kind: str, straight: Path, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    """With room for a checkpoint, nothing is lost: not even the line."""
    folder = tmp_path / "full"

    def due(lines: JsonLines, record: Any, *more: Any) -> bool:
        return lines.path.stem == kind and record["step"] == 120

    with monkeypatch.context() as patch:
        fail_once(patch, JsonLines, "write", due, FULL)
        assert run.main(toy_command(folder, **WHOLE)) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    remedy = f"to continue from step 120: python -m lsp.run --resume={folder}"
    assert said == f"lsp: error: [Errno 28] No space left on device: 'somewhere/metrics.jsonl'; {remedy}"
    assert run.main([f"--resume={folder}"]) == 0
    assert_same(straight, folder)


def test_a_disk_that_is_full_for_a_checkpoint_too(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    folder = tmp_path / "full"

    def refuse(*arguments: Any) -> None:
        raise checkpoint.CheckpointError("checkpoint not saved, No space left on device")

    with monkeypatch.context() as patch:
        fail_once(patch, JsonLines, "write", lambda lines, *records: records[0]["step"] == 120, FULL)
        saved = checkpoint.save
        patch.setattr(checkpoint, "save", lambda root, step, *rest: saved(root, step, *rest) if step < 81 else refuse())
        assert run.main(toy_command(folder, **WHOLE)) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert "metrics.jsonl'; no checkpoint of this step: checkpoint not saved, No space left on device; to con" in said
    assert said.endswith(f"to continue from step 80: python -m lsp.run --resume={folder}")
    assert run.main([f"--resume={folder}", "--steps=122"]) == 0


@pytest.mark.parametrize("error", ["Odd", "SystemExit", "MemoryError"])
def test_an_environment_raises_what_nobody_foresaw(error: str, tmp_path: Path, capfd: Any) -> None:
    """The episodes in progress are lost, and what n-step returns hold back; all else is there, and training goes on."""
    folder = tmp_path / "fragile"
    kwargs = f'{{"error": "{error}", "at": 51, "max_episode_steps": 40}}'
    flags = {"env": FRAGILE, "env_kwargs": kwargs, "steps": 240, "log_every": 40, "checkpoint_every": 0}
    assert run.main(toy_command(folder, **flags)) == 1
    *_, said = capfd.readouterr().err.splitlines()
    assert error in said
    assert said.endswith(f"to continue from step 100: python -m lsp.run --resume={folder}")
    assert "Traceback" not in said
    arrays, host = checkpoint.load(newest(folder))
    assert (host["loop"]["step"], host["lost"], len(host["loop"]["waiting"])) == (100, True, 0)
    assert host["replay_size"] == 100 - 2 * 2
    assert [each["env"] for each in host["loop"]["executors"]["executors"]] == [None, None]
    assert all(np.isfinite(leaf).all() for leaf in arrays["learner"].values())
    # The environments of another process may take as many steps again.
    assert run.main([f"--resume={folder}"]) == 1
    *_, said = capfd.readouterr().err.splitlines()
    assert f"to continue from step 200: python -m lsp.run --resume={folder}" in said
    assert run.main([f"--resume={folder}"]) == 0
    host = checkpoint.load(newest(folder))[1]
    assert [line["step"] for line in metrics.read(folder / "metrics.jsonl")] == [40, 80, 120, 160, 200, 240]
    assert host["replay_size"] == 240 - 3 * 2 * 2
    # A dispatch of 4 updates at every 4th step from 56 on, but at 104 and 204, for which no transitions were left.
    assert host["loop"]["updates"] == 240 - 52 - 2 * 4
    assert host["loop"]["executors"]["origins"][:, 1].tolist() == [2, 2]


@pytest.mark.parametrize("error", [RuntimeError("RESOURCE_EXHAUSTED: out\nof memory"), MemoryError()])
def test_the_learner_raises_what_nobody_foresaw(error: Exception, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        fail_once(patch, Loop, "answer", lambda loop, seeds: seeds[0].step == 134, error)
        assert run.main(toy_command(folder, **WHOLE)) == 1
    *_, said = capfd.readouterr().err.splitlines()
    text = " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())
    where = f"(where: {folder / 'traceback.txt'})"
    remedy = f"to continue from step 134: python -m lsp.run --resume={folder}"
    assert said == f"lsp: error: training failed at step 134: {text} {where}; {remedy}"
    assert "in method" in (folder / "traceback.txt").read_text()
    assert run.main([f"--resume={folder}"]) == 0
    assert newest(folder).name == "160"


def test_a_learner_that_is_gone(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """Its memory was given to the dispatch that failed: the checkpoint before is what there is."""
    folder, original = tmp_path / "run", Loop.answer

    def answer(loop: Loop, seeds: Sequence[Any]) -> None:
        if seeds[0].step == 134:
            loop.device.state.agent.weights.delete()
            raise RuntimeError("INTERNAL: no")
        original(loop, seeds)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "answer", answer)
        assert run.main(toy_command(folder, **WHOLE)) == 1
    *_, said = capfd.readouterr().err.splitlines()
    assert "; no checkpoint of this step: " in said
    assert said.endswith(f"to continue from step 80: python -m lsp.run --resume={folder}")


def test_a_fault_in_evaluation(tmp_path: Path, capfd: Any) -> None:
    """The one that collects has not come that far."""
    folder = tmp_path / "fragile"
    kwargs = '{"error": "Odd", "at": 39, "max_episode_steps": 40}'
    flags = {"env": FRAGILE, "env_kwargs": kwargs, "steps": 70, "evaluation__every": 50, "log_every": 50}
    assert run.main(toy_command(folder, **flags)) == 1
    *_, said = capfd.readouterr().err.splitlines()
    assert "Odd" in said
    assert said.endswith(f"to continue from step 50: python -m lsp.run --resume={folder}")
    assert run.main([f"--resume={folder}", "--evaluation.every=0"]) == 0
    assert newest(folder).name == "70"


def test_others_go_on_when_the_evaluation_of_one_fails(
    sweep: Path, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    """With an error that nobody foresaw."""
    folder, original = tmp_path / "sweep", Evaluator.__call__

    def call(evaluator: Evaluator, *arguments: Any) -> Any:
        if len(calls) == 2:
            calls.append(0)
            raise KeyError("speed")
        calls.append(0)
        return original(evaluator, *arguments)

    calls: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "__call__", call)
        assert run.main(toy_command(folder, seeds="2:4", **WHOLE)) == 1
    assert "lsp: error: seed 2: training failed at step 120: KeyError: 'speed'" in capfd.readouterr().err
    assert newest(folder / "seed_2").name == "120"
    assert_same(sweep / "seed_3", folder / "seed_3")
    assert run.main([f"--resume={folder / 'seed_2'}"]) == 0
    lines = [[line["step"] for line in metrics.read(each / "seed_2" / "eval.jsonl")] for each in (folder, sweep)]
    assert lines[0] == lines[1]


def test_the_first_checkpoint_comes_early(straight: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """After some time; the next ones by steps; it changes nothing. And never where none is wanted."""
    monkeypatch.setattr(train, "FIRST_CHECKPOINT", 0.0)
    saved, save = [], checkpoint.save

    def note(root: Path, step: int, *rest: Any) -> Path:
        if root.name == "checkpoints":
            saved.append(step)
        return save(root, step, *rest)

    monkeypatch.setattr(checkpoint, "save", note)
    assert run.main(toy_command(tmp_path / "early", **WHOLE)) == 0
    assert saved == [2, 80, 160]
    assert_same(straight, tmp_path / "early")
    assert run.main([f"--resume={tmp_path / 'early'}", "--steps=170"]) == 0
    assert run.main(toy_command(tmp_path / "never", **WHOLE | {"checkpoint_every": 0, "steps": 40})) == 0
    assert saved == [2, 80, 160, 170, 40]
