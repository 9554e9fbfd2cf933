"""Commands as documents show them: understood, and done, in this process and in the working folder."""

import argparse
import glob
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType

import pytest

from lsp import cli, export, run, video
from lsp.config import stages
from lsp.grid import command as grid
from lsp.grid.plan import plan
from lsp.report import command as report
from lsp.storage.run_folder import read_document, write_document
from tests.support.documents import PROGRAMS, ROOT

PARSERS: dict[str, Callable[[list[str]], object]] = {
    "lsp.run": cli.parse,
    "lsp.grid": lambda words: plan(words, grid.OWN),
    "lsp.report": lambda words: _parser_of(report).parse_args(words),
    "lsp.video": lambda words: _parser_of(video).parse_args(words),
    "lsp.export": lambda words: _parser_of(export).parse_args(words),
}
MAINS: dict[str, Callable[[list[str]], int]] = {
    "lsp.run": run.main,
    "lsp.grid": lambda words: grid.main(words, runner=run.main),
    "lsp.report": report.main,
    "lsp.video": lambda words: video.main([*words, *["--frames=10"] * ("--help" not in words)]),
    "lsp.export": export.main,
}
READ = re.compile(r"--(?:resume|from-layers)=(.+)")  # flags whose folder must be there
ELSEWHERE = ("HEAD:6379", "HOST:PORT", "ray start")
OURS = "my_package", "tasks.py", (
    "from lsp.envs.toys import PointMassEnv\n\n\n"
    "class MyEnv(PointMassEnv):\n    def __init__(self, **given):\n        super().__init__()\n"
)  # fmt: skip
FLAGS = "--critic.tau=0.005\n--critic.tau=0.01\n"


def _parser_of(command: ModuleType) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = (getattr(command, "parser", None) or command._parser)()
    return made


def words_of(line: str) -> tuple[dict[str, str], list[str]]:
    """The variables that a command sets, and its words; of `make run` those of the command that it stands for."""
    words, variables = shlex.split(line, comments=True), dict[str, str]()
    while words and re.match(r"\w+=", words[0]):
        name, _, variables[name] = words.pop(0).partition("=")
    if words[:2] == ["make", "run"]:
        flags = [word.removeprefix("ARGS=") for word in words[2:] if word.startswith("ARGS=")]
        words = ["python", "-m", "lsp.run", "--agent=sac_lsp", *shlex.split(" ".join(flags))]
    return variables, words


def understand(line: str) -> None:
    """Fail where a command means nothing: no such flag, target, script, extra or program."""
    _, words = words_of(line)
    match words:
        case ["make", *targets]:
            known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert [word for word in targets if "=" not in word and word not in known] == []
        case [_, "-m", "pip", *_]:
            setup = ConfigParser()
            setup.read(ROOT / "setup.cfg")
            extras = [name for word in words for name in re.findall(r"\[(.+)\]", word)]
            assert [
                name for each in extras for name in each.split(",") if name not in setup["options.extras_require"]
            ] == []
        case [_, "-m", module, *arguments] if module.startswith("lsp."):
            _parse(module, arguments)
        case [_, script, *_] if script.endswith(".py"):
            assert (ROOT / script).is_file()
        case [program, *_]:
            assert program in (*PROGRAMS, ".venv/bin/python")


def _parse(module: str, arguments: list[str]) -> None:
    parse = PARSERS[module]
    if not {"-h", "--help"} & set(arguments):
        parse(arguments)


def furnish(folder: Path) -> None:
    """Put into a folder what documents take for granted: a package with a task, a file of flags, programmes of runs."""
    package, module, text = OURS
    (folder / package).mkdir()
    (folder / package / "__init__.py").touch()
    (folder / package / module).write_text(text)
    (folder / "flags.txt").write_text(FLAGS)
    if (programmes := ROOT / "runs" / "programmes").is_dir():
        shutil.copytree(programmes, folder / "runs" / "programmes")


def provide(name: str, finished: Path) -> None:
    """See to it that the run `name` lies in the working folder: what was published, or else a copy of `finished`."""
    for path in ROOT.glob(name) if name.startswith("runs/published/") else []:
        _copy(path, path.relative_to(ROOT))
    if not glob.glob(name):
        _copy(finished, Path(name))


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target)


def do(line: str, finished: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Do a command of ours, and copy; others are understood, no more. Skips what needs something that is not here."""
    if any(name in line for name in ELSEWHERE):
        pytest.skip("needs a cluster")
    variables, words = words_of(line)
    if any(word.endswith(".toml") for word in words) and "--dry-run" not in words:
        pytest.skip("a programme of many runs")
    with patch.context() as inner:
        for name, value in variables.items():
            inner.setenv(name, value)
        match words:
            case [_, "-m", module, *arguments] if module in MAINS:
                _furnished(module, arguments, finished)
                _call(module, _expanded(arguments), capsys)
            case ["cp", *arguments]:
                provide(arguments[-2], finished)
                subprocess.run(["cp", *arguments], check=True)
            case _:
                understand(line)


def _expanded(arguments: Sequence[str]) -> list[str]:
    """Patterns as the shell replaces them."""
    return [name for word in arguments for name in (sorted(glob.glob(word)) if "*" in word or "[" in word else [word])]


def _furnished(module: str, arguments: Sequence[str], finished: Path) -> None:
    """Provide the runs that a command reads; one that is continued is not finished unless it is given more to do."""
    reads = [found[1] for word in arguments if (found := READ.match(word))]
    if module in ("lsp.report", "lsp.video", "lsp.export"):
        reads += [word for word in arguments if not word.startswith("-")]
    Path("runs/published").mkdir(parents=True, exist_ok=True)
    for name in reads:
        provide(name, finished)
    if any(word.startswith("--resume=") for word in arguments):
        document = read_document(Path(reads[0]))
        longer = stages.extended(document["config"], document["config"]["steps"] + 50)
        write_document(Path(reads[0]), document | {"config": longer})


def _call(module: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    try:
        status = MAINS[module](arguments)
    except SystemExit as asked_for_help:
        status = int(asked_for_help.code or 0)
    if status:
        err = capsys.readouterr().err
        if "pip install" in err or "apt-get install" in err:
            pytest.skip(err.splitlines()[-1])
        pytest.fail(f"{module} {shlex.join(arguments)} ended with {status}: {err}")
