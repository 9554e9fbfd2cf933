"""The command line: `python -m lsp.run --agent=NAME`; see `--help`.

Bad input ends it before anything is written. An interrupted run ends with status 130 and can be resumed.
"""

import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lsp import cli
from lsp.commands import FAULT, INTERRUPTED, say, say_error, status_of
from lsp.config import Config, ConfigError, packaging, schema, validate
from lsp.config.schema import Fault
from lsp.storage.run_folder import resume_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit status."""
    return status_of(lambda: _do(sys.argv[1:] if arguments is None else arguments))


def _do(arguments: Sequence[str]) -> int:
    command = cli.parse(arguments)
    if command.options.version:
        return _print_version()
    return _dry_run(command) if command.options.dry_run else _train(command)


def run_dir(options: cli.RunOptions, config: Config) -> Path:
    """The folder of a new run. Raises ConfigError."""
    if Path(options.name).name != options.name or options.name == "..":
        raise ConfigError(f"--name={options.name}: must be the name of one folder; --runs-dir says where")
    env = re.sub(r"[^\w.-]", "", config.env)
    seeds = f"seeds{options.seeds.replace(':', '-')}" if options.seeds else f"s{config.seed}"
    default = f"{env}__{config.agent}__{seeds}__{time.strftime('%Y%m%d-%H%M%S')}"
    return Path(options.runs_dir).expanduser() / (options.name or default)


def _train(command: cli.Command) -> int:
    options, config = command.options, command.config
    folder = Path(options.resume).expanduser() if options.resume else run_dir(options, config)
    place = folder.absolute()  # whatever environments do to the working folder
    from lsp.training import session  # JAX comes with it, and takes seconds

    try:
        if options.resume:
            finished, failures = session.resume(place, command.given)
        else:
            finished, failures = session.start(config, place, command.seeds)
    except (ConfigError, Fault) as error:
        error.args = (as_typed(str(error), place, folder),)
        raise
    return _end(place, folder, finished, [as_typed(failure, place, folder) for failure in failures])


def as_typed(text: str, place: Path, folder: Path) -> str:
    """A message about `place` that names it as it was typed, which is shorter, and means the same to who typed it."""
    return text.replace(shlex.quote(str(place)), shlex.quote(str(folder))).replace(str(place), str(folder))


def _end(place: Path, folder: Path, finished: bool, failures: Sequence[str]) -> int:
    from lsp.training import announce

    if finished:
        say(f"lsp: finished: {folder}")
    else:
        say(f"lsp: stopped; to continue: {resume_command(folder)}")
    for line in announce.ending(place, folder):
        say(line)
    for failure in failures:
        say_error(failure)
    if not finished:
        return INTERRUPTED
    return FAULT if failures else 0


def _dry_run(command: cli.Command) -> int:
    from lsp import envs
    from lsp.training import announce, memory

    config, notes = command.config, announce.about(command.config)
    spec = envs.learner_spec(config, notes.append)
    needed, available = memory.replay_bytes(config, spec), memory.available_bytes()
    subject = announce.Subject(validate(config), spec, str(run_dir(command.options, config)), command.seeds)
    print("# a dry run: this is what would be trained; nothing is written")
    for line in (*announce.header(subject, needed), *announce.notes(notes)):
        print(f"# {line}")
    if available is not None:
        print(f"# memory       {available / 1e9:.2f} GB are free")
    for name, value in schema.flatten(config).items():
        print(f"{schema.flag(name)}={shlex.quote(schema.to_text(value))}")
    memory.check(config, spec, max(1, len(command.seeds)))
    return 0


def _print_version() -> int:
    from lsp.storage import provenance

    revision = provenance.git_revision()
    print(f"lsp {packaging.version()}" + (f", revision {revision}" if revision else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
