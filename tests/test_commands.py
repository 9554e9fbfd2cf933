"""How a command ends, for each kind of error; and that every command ends so."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lsp import commands, export, run, video
from lsp.config import ConfigError
from lsp.envs import EnvironmentFault
from lsp.grid import command as grid
from lsp.report import command as report
from lsp.storage.checkpoint import CheckpointError
from lsp.training.divergence import Diverged

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _no_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LSP_DEBUG", raising=False)


def raising(error: BaseException) -> Any:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("two\n  lines"), 2),
        (CheckpointError("two lines"), 1),
        (EnvironmentFault("two lines"), 1),
        (Diverged("two lines"), 1),
        (OSError("two lines"), 1),
    ],
)
def test_expected_errors_are_one_line(error: Exception, status: int, capsys: Any) -> None:
    assert commands.status_of(raising(error)) == status
    assert capsys.readouterr().err == "lsp: error: two lines\n"


def test_ctrl_c(capsys: Any) -> None:
    assert commands.status_of(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "lsp: interrupted\n"


def test_defects_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="a defect"):
        commands.status_of(raising(RuntimeError("a defect")))
    monkeypatch.setenv("LSP_DEBUG", "1")
    with pytest.raises(ConfigError):
        commands.status_of(raising(ConfigError("wanted")))


@pytest.mark.parametrize("command", [report, video, export])
@pytest.mark.parametrize("arguments", [[], ["runs/none"], ["x", "--sed=1"], ["x", "--see=1"]])
def test_commands_end_in_one_line(command: Any, arguments: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(arguments) == 2


@pytest.mark.parametrize("command", [run, grid])
def test_so_do_those_that_train(command: Any, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["--name=x", "--sed=1"]) == 2
    assert capsys.readouterr().err == "lsp: error: unknown flag --sed: did you mean --seed?\n"
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_seen_enough() -> None:
    script = "import sys\nfrom lsp import commands\nsys.exit(commands.status_of(lambda: print('x' * 100_000) or 0))"
    line = f"{sys.executable} -c \"$SCRIPT\" | head -c 1"
    result = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=os.environ | {"SCRIPT": script}, capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("x", "")
