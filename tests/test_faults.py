"""Whatever goes wrong in a run: one line says what, the status says so too, and nothing written comes to harm."""

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp import run
from lsp.storage import checkpoint, metrics
from lsp.training import memory, session
from tests.support.runs import command, compiled_once, newest, snapshot  # noqa: F401  # a fixture

pytestmark = pytest.mark.usefixtures("compiled_once")
PUPPET = "tests.support.runs:Puppet"


def error_of(capfd: pytest.CaptureFixture[str]) -> str:
    """The one line that is an error; before it there may be lines of progress, and no traceback."""
    *progress, last = capfd.readouterr().err.splitlines()
    assert not any("error" in line.lower() or "Traceback" in line for line in progress), progress
    assert last.startswith("lsp: error: ")
    return last.removeprefix("lsp: error: ")


def event(name: str, at: int) -> str:
    return json.dumps({"event": name, "at": at, "max_episode_steps": 40})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "at", "message"),
    [
        ("nan", 30, "returned reward nan at step 30"),
        ("inf", 50, "returned reward inf at step 10"),
        ("observation", 50, "returned 1 of 125 observation entries not finite (entry 7 is nan) at step 10"),
        ("raise", 50, "raised RuntimeError: broke a leg at step 10"),
        ("reset", 40, "raised RuntimeError: cannot stand up in reset"),
    ],
)
def test_environment_fault(name: str, at: int, message: str, tmp_path: Path, capfd: Any) -> None:
    """In the first of two environments, whose episodes have 40 steps."""
    folder = tmp_path / "run"
    arguments = command(folder, env=PUPPET, env_kwargs=event(name, at), steps=200, learning_starts=150)
    assert run.main([*arguments, "--checkpoint-every=20"]) == 1
    before = 2 * (at - 1)  # of two executors
    remedy = f"to continue from step {before}: python -m lsp.run --resume={folder}"
    assert error_of(capfd) == f"environment {PUPPET} {message}; {remedy}"
    steps = range(20, 2 * at, 20)
    assert checkpoint.steps(folder / "checkpoints") == [steps[-1], before]
    checkpoint.load(newest(folder))
    assert [line["step"] for line in metrics.read(folder / "metrics.jsonl")] == list(steps)


def test_environment_that_never_starts(tmp_path: Path, capfd: Any) -> None:
    arguments = command(tmp_path / "run", env=PUPPET, env_kwargs=event("reset", 0))
    assert run.main(arguments) == 1
    assert error_of(capfd) == f"environment {PUPPET} raised RuntimeError: cannot stand up in reset"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("discrete", "actions Discrete(3) are not supported"),
        ("image", "image observations (8, 8, 3) are not supported"),
        ("dict", "Dict observations (desired_goal, observation) are supported of goal environments only"),
        ("unbounded", "unbounded actions are not supported"),
    ],
)
def test_environment_that_does_not_fit(kind: str, message: str, tmp_path: Path, capfd: Any) -> None:
    arguments = command(tmp_path / "run", env="tests.support.runs:Unfit", env_kwargs=json.dumps({"kind": kind}))
    assert run.main(arguments) == 2
    assert error_of(capfd).startswith(f"environment 'tests.support.runs:Unfit': {message}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        ({"log_every": 4, "checkpoint_every": 40}, "actor.params is nan"),
        ({"log_every": 500, "checkpoint_every": 40}, "actor.params is nan"),  # the environment is handed NaN
        ({"log_every": 500, "checkpoint_every": 4}, "actor.params is nan"),  # a checkpoint is due before that
    ],
)
def test_diverged(overrides: dict[str, Any], what: str, tmp_path: Path, capfd: Any) -> None:
    """However it comes to light, it is not blamed on the environment, and never gets into a checkpoint."""
    folder = tmp_path / "run"
    rates = {"critic__learning_rate": 1e20, "policy__learning_rate": 1e20}
    assert run.main(command(folder, env=PUPPET, steps=400, **rates, **overrides)) == 1
    message = error_of(capfd)
    assert message.startswith(f"training diverged: {what} at step ")
    assert f"; checkpoints in {folder}/checkpoints are from before; start again with a lower --critic." in message
    for step in checkpoint.steps(folder / "checkpoints") or [0]:
        arrays, _ = checkpoint.load(folder / "checkpoints" / str(step))
        assert all(np.isfinite(leaf).all() for leaf in arrays["learner"].values())


def test_capacity_beyond_memory(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 2_000_000)
    assert run.main(command(tmp_path / "run", replay__capacity=3000)) == 2
    assert error_of(capfd) == (
        "--replay.capacity=3000 needs 0.00 GB for observations of 125 numbers, and 0.00 GB are free: "
        "at most 1730 rows fit"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "below a file", "proc"])
def test_unwritable(place: str, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "file").write_text("precious")
    folder = {"file": tmp_path / "file", "below a file": tmp_path / "file/run", "proc": Path("/proc/run")}[place]
    assert run.main(command(folder)) == 2
    message = error_of(capfd)
    assert message.startswith(f"{folder} exists" if place == "file" else f"cannot write to {folder}: ")
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.slow
def test_disk_full(tmp_path: Path, capfd: Any) -> None:
    """A limit on the size of files stands for the full disk: the replay, which grows, is what no longer fits."""
    folder = tmp_path / "run"
    arguments = command(folder, steps=60, learning_starts=1000)
    assert run.main(arguments) == 0
    kept = snapshot(newest(folder))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, before[1]))
    try:
        assert run.main([f"--resume={folder}", "--steps=300"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    message = error_of(capfd)
    assert "checkpoint not saved, File too large; it needs " in message
    assert message.endswith(f"; to continue from step 60: python -m lsp.run --resume={folder}")
    assert checkpoint.steps(folder / "checkpoints") == [60]
    assert snapshot(newest(folder)) == kept
    assert run.main([f"--resume={folder}"]) == 0
    assert newest(folder).name == "300"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, compiled_once: None) -> Path:  # noqa: F811
    """A run that ended, with two checkpoints."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert run.main(command(folder, steps=80, checkpoint_every=40, learning_starts=1000)) == 0
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


Damage = Callable[[Path], Any]


def rewrite(find: Callable[[Path], Path], change: Callable[[bytes], bytes]) -> Damage:
    """Change the contents of a file of the run."""
    return lambda run: find(run).write_bytes(change(find(run).read_bytes()))


def configure(**changes: Any) -> Damage:
    """Edit values in config.json by hand; `__` stands for a dot."""

    def change(data: bytes) -> bytes:
        document = json.loads(data)
        document["config"] |= {name.replace("__", "."): value for name, value in changes.items()}
        return json.dumps(document).encode()

    return rewrite(config, change)


def flip(data: bytes) -> bytes:
    """One bit is another."""
    return data[:200] + bytes([data[200] ^ 1]) + data[201:]


def config(run: Path) -> Path:
    return run / "config.json"


def lines(run: Path) -> Path:
    return run / "metrics.jsonl"


def rows(run: Path) -> Path:
    return newest(run) / "replay/000.rows.npy"


def params(run: Path) -> Path:
    return newest(run) / "learner/000.actor.params.npy"


def manifest(run: Path) -> Path:
    return newest(run) / "manifest.json"


def replace_by_folder(run: Path) -> None:
    config(run).unlink()
    config(run).mkdir()


DAMAGE: dict[str, tuple[Damage, int, str]] = {
    "no checkpoint": (lambda run: shutil.rmtree(run / "checkpoints"), 1, "no complete checkpoint to resume from"),
    "truncated": (rewrite(rows, lambda data: data[:-9]), 1, "80/replay/000.rows.npy: damaged checkpoint, "),
    "flipped bit": (rewrite(params, flip), 1, "80/learner/000.actor.params.npy: damaged checkpoint, "),
    "file lost": (lambda run: params(run).unlink(), 1, "80/learner/000.actor.params.npy: damaged checkpoint, "),
    "manifest": (rewrite(manifest, flip), 1, "80/manifest.json: damaged checkpoint, "),
    "lines lost": (rewrite(lines, lambda data: data[: data.index(b"\n") + 1]), 1, "metrics.jsonl: no line ends at"),
    "foreign folder": (lambda run: config(run).unlink(), 2, "run is not a run: there is no config.json in it"),
    "broken JSON": (rewrite(config, lambda data: data[:100]), 2, "config.json cannot be read: "),
    "not text": (rewrite(config, lambda data: b"\xff" + data), 2, "config.json cannot be read: "),
    "other JSON": (rewrite(config, lambda data: b"[1]"), 2, "config.json cannot be read: it holds no "),
    "no values": (rewrite(config, lambda data: b'{"config": 3}'), 2, "config.json cannot be read: it holds no "),
    "a folder": (replace_by_folder, 2, "config.json cannot be read: "),
    "unknown field": (configure(criitc=1), 2, "config.json: configuration of another version of lsp? "),
    "bad value": (configure(gamma=2), 2, "config.json: --gamma=2: must be a number in [0, 1)"),
    "other shapes": (
        configure(critic__hidden_sizes=[32, 16]),
        2,
        "config.json has --critic.hidden-sizes=32,16, its checkpoint was saved with 16,16: put that back, or",
    ),
    "other capacity": (configure(replay__capacity=4000), 2, "has --replay.capacity=4000, its "),
    "other discount": (configure(gamma=0.5), 2, "has --gamma=0.5, its checkpoint was saved with 0.99"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_resume_of_a_damaged_run(name: str, folder: Path, capfd: Any) -> None:
    damage, status, message = DAMAGE[name]
    damage(folder)
    left = snapshot(folder)
    assert run.main([f"--resume={folder}", "--steps=100"]) == status
    error = error_of(capfd)
    assert message in error
    assert str(folder) in error
    assert snapshot(folder) == left


@pytest.mark.slow
def test_the_checkpoint_before_a_damaged_one(folder: Path, finished: Path, capfd: Any) -> None:
    """What the error says to do works, and leads to where the undamaged run was."""
    rewrite(rows, flip)(folder)
    assert run.main([f"--resume={folder}", "--steps=100"]) == 1  # without, nothing is left to do, nor read
    assert str(folder / "checkpoints/40") in error_of(capfd)
    shutil.rmtree(newest(folder))
    assert session.resume(folder, {})
    arrays = [snapshot(newest(place) / "learner") for place in (folder, finished)]
    assert arrays[0] == arrays[1]


@pytest.mark.parametrize("flag", ["--seed=1", "--gamma=0.9", "--replay.capacity=9000", "--env=lsp/PointMass-v0"])
def test_what_may_not_change(flag: str, folder: Path, capfd: Any) -> None:
    left = snapshot(folder)
    assert run.main([f"--resume={folder}", flag]) == 2
    executors = "--executors.address, --executors.engine, --executors.timeout, --executors.workers"
    ahead = "--growth.*, --layer-steps, --layers"
    seldom = "--log-every, --milestone-every, --steps, --track"
    evaluation = "--evaluation.every, --evaluation.max-episode-steps"
    allowed = f"--checkpoint-every, {evaluation}, {executors}, {ahead}, {seldom}"
    assert error_of(capfd) == f"{flag.split('=')[0]} cannot change when a run is resumed; only {allowed} can"
    assert snapshot(folder) == left


def test_a_run_is_not_overwritten(folder: Path, capfd: Any) -> None:
    left = snapshot(folder)
    assert run.main(command(folder)) == 2
    assert error_of(capfd) == f"{folder} exists: choose another --name, or resume it with --resume={folder}"
    assert snapshot(folder) == left


def test_the_second_interrupt_ends_at_once(tmp_path: Path, capfd: Any) -> None:
    """There are two environments, in each of whose 50th step somebody presses Ctrl-C."""
    folder = tmp_path / "run"
    arguments = command(folder, env=PUPPET, env_kwargs=event("interrupt", 50), steps=200, learning_starts=150)
    assert run.main([*arguments, "--checkpoint-every=40"]) == 130
    assert capfd.readouterr().err.endswith("\nlsp: interrupted\n")
    assert checkpoint.steps(folder / "checkpoints") == [40, 80]
    checkpoint.load(newest(folder))
