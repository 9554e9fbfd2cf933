"""How a command ends, for each kind of error; and that every command ends so."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
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
    line = f'{sys.executable} -c "$SCRIPT" | head -c 1'
    result = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=os.environ | {"SCRIPT": script}, capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("x", "")


@pytest.mark.parametrize(
    ("variables", "reason", "message"),
    [
        (
            {"JAX_PLATFORMS": "nosuch"},
            "no such\nthing (set JAX_PLATFORMS='' or",
            "JAX_PLATFORMS=nosuch: no such thing;",
        ),
        ({"JAX_PLATFORM_NAME": "gpu", "JAX_PLATFORMS": ""}, "", "JAX_PLATFORM_NAME=gpu: no such device is found;"),
        ({}, "x.", "JAX: x;"),
    ],
)
def test_a_platform_that_is_not_there(
    variables: dict[str, str], reason: str, message: str, monkeypatch: Any, capsys: Any
) -> None:
    for name in commands.PLATFORM_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def devices() -> None:
        raise AssertionError(reason)

    monkeypatch.setattr(jax, "devices", devices)
    assert commands.status_of(raising(RuntimeError("whatever JAX says"))) == 2
    assert capsys.readouterr().err == f"lsp: error: {message} unset it, or let JAX_PLATFORMS be cpu\n"
    assert commands.status_of(raising(ConfigError("something else"))) == 2
    assert capsys.readouterr().err == "lsp: error: something else\n"


def test_jax_says_what_is_looked_for() -> None:
    """Its message in a process of its own: of a name, of a platform without its device, of the old variable."""
    script = "import sys, jax\nfrom lsp import commands\n"
    script += "sys.exit(commands.status_of(lambda: jax.numpy.zeros(3).size - 3))"
    for name, value in (("JAX_PLATFORMS", "nosuch"), ("JAX_PLATFORMS", "cuda"), ("JAX_PLATFORM_NAME", "gpu")):
        environment = {key: text for key, text in os.environ.items() if key not in commands.PLATFORM_VARIABLES}
        line = [sys.executable, "-c", script]
        done = subprocess.run(
            line, cwd=ROOT, env=environment | {name: value}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, done.stderr
        assert f"lsp: error: {name}={value}: " in done.stderr
        assert "Traceback" not in done.stderr


def test_any_name_can_be_printed_anywhere() -> None:
    """In an encoding that lacks its letters; and a name that is no text at all."""
    script = "import sys\nfrom lsp import commands\n"
    script += "sys.exit(commands.status_of(lambda: print('L\\u00e4ufe', '\\udcff') or 0))"
    line, ascii_only = [sys.executable, "-c", script], {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(line, cwd=ROOT, env=os.environ | ascii_only, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "L\\xe4ufe \\udcff\n", "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(closed: str, tmp_path: Path) -> None:
    """What the command opens does not take their place, where everything that is printed would go into it."""
    script = (
        "import os, sys\nfrom lsp import commands\n"
        f"def do():\n    file = open({str(tmp_path / 'file')!r}, 'w')\n"
        "    print('lost'), print('lost', file=sys.stderr)\n"
        "    os.write(2, b'lost')\n    return 3 if file.fileno() > 2 else 4\n"
        "sys.exit(commands.status_of(do))"
    )
    line = f'{sys.executable} -c "$SCRIPT" {closed}'
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=os.environ | {"SCRIPT": script}, check=False)
    assert done.returncode == 3
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("status", [0, 130])
def test_nobody_reads_what_is_said_at_the_end(status: int) -> None:
    script = "import sys\nfrom lsp import commands\n"
    script += f"sys.exit(commands.status_of(lambda: commands.say('x') or {status}))"
    line = f'({sys.executable} -c "$SCRIPT"; echo $? >&2) | true'
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=ROOT,
        env=os.environ | {"SCRIPT": script, "PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == f"{status or commands.FAULT}\n"
