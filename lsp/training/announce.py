"""What a run says of itself when it starts, when it continues and when it ends: lines for people, made for 80 columns.

Functions of a configuration, sizes and folders; who prints them, and where, is not decided here.
"""

import os
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from lsp.config import Config, stages
from lsp.storage import metrics
from lsp.storage.run_folder import read_document, resume_command, seed_folder, seeds_of
from lsp.training import growth
from lsp.training.device import updates_per_dispatch
from lsp.training.evaluate import describe
from lsp.training.progress import duration
from lsp.training.seed import UpdateBudget
from lsp.types import EnvSpec

WIDTH, LABEL = 80, 13  # columns of a line, and of what comes first in it
COMPILING = "compiling: usually 5 to 15 s"


class Subject(NamedTuple):
    """What is trained."""

    config: Config  # of the whole run
    spec: EnvSpec  # sizes of the environment
    folder: str  # as a person calls it
    seeds: Sequence[int] = ()  # where the folder is that of several


def header(subject: Subject, replay_bytes: int) -> list[str]:
    """What is going to be trained, on what, for how long, and where it is written.

    `replay_bytes` are those of the replay of one seed, when it is full.
    """
    config, _, folder, seeds = subject
    each = ", per seed" if len(seeds) > 1 else ""
    rows = [*_identity(subject), ("training", _training(config) + each)]
    if config.layers > 1 or config.from_layers:
        rows.append(("layers", _layers(config)))
    rows.append(("replay", f"{config.replay.capacity:,} transitions, {_size(replay_bytes)}{each}"))
    return _table([*rows, ("folder", folder), ("expect", _expectations(config))])


def resumed(subject: Subject, step: int, updates: int) -> list[str]:
    """Where a run continues, shorter than its header."""
    who = f"resuming {len(subject.seeds)} seeds" if subject.seeds else "resuming"
    first = f"{who} at step {step:,} of {subject.config.steps:,}, after {updates:,} updates"
    return [first, *_table([*_identity(subject), ("folder", subject.folder)])]


def notes(lines: Iterable[str]) -> list[str]:
    """What a person should know of a run that starts, below its header."""
    return _table([("note", line) for line in lines])


def about(config: Config) -> list[str]:
    """What a person should know of a configuration that can run, but may not do what was meant."""
    if config.steps > config.learning_starts:
        return []
    return [f"--steps={config.steps} ends before --learning-starts={config.learning_starts}: no learning"]


def finished(config: Config, folder: str, step: int) -> list[str]:
    """That a run has nothing left to do, and how it can go further."""
    further = f"{resume_command(Path(folder))} --steps={2 * config.steps}"
    return [f"{folder} is finished, at step {step:,} of {config.steps:,}; to go further:", f"  {further}"]


def ending(folder: Path, shown: Path) -> list[str]:
    """What came out, how long it took, and what to type next.

    Args:
      folder: of a run, or of several seeds; what it lacks is left out.
      shown: the same, as a person calls it.
    """
    seeds = seeds_of(folder)
    runs = list(seeds.values()) or [folder]
    lines = [f"  {line}" for line in _last_evaluation(runs, "seeds" if seeds else "episodes")]
    documents = [read_document(run) for run in runs if (run / "config.json").exists()]
    if seconds := max((document.get("seconds", 0.0) for document in documents), default=0.0):
        lines.append(f"  it took {duration(seconds)}")
    one = seed_folder(shown, min(seeds)) if seeds else shown
    commands = [("report", shown), ("video", one), ("export", one)]
    what = ("its numbers and curves", "a film of the policy", "the policy alone, for NumPy")
    typed = [f"python -m lsp.{name} {shlex.quote(str(path))}" for name, path in commands]
    width = max(map(len, typed))
    return [*lines, "  next:", *(f"    {line:<{width}}  # {why}" for line, why in zip(typed, what, strict=True))]


def typed(folder: Path) -> str:
    """A folder as a person would type it here: relative to the working folder where it lies in that."""
    relative = os.path.relpath(folder)
    return str(folder) if relative.startswith("..") else relative


def updates_of(config: Config) -> int:
    """Updates that a run makes in all, up to a dispatch; of a layer that keeps its replay, its warm-up included."""
    budget, updates, dispatch = UpdateBudget(config.learning_starts), 0, updates_per_dispatch(config)
    for stage, end in enumerate(stages.boundaries(config)):
        if stage > 0:
            begins = stages.boundaries(config)[stage - 1]
            change = growth.change_to(config, stage, updates)
            updates += change.extra_updates
            budget.begin_stage(change, config, begins, updates)
        updates += max(0, budget.updates_due(config, end, updates)) // dispatch * dispatch
    return updates


def _identity(subject: Subject) -> list[tuple[str, str]]:
    config, spec, _, seeds = subject
    which = f"seed {config.seed}" if not seeds else f"{len(seeds)} seeds ({_listed(seeds)})"
    many = f" x {config.executors.count}" if config.executors.count > 1 else ""
    engine = f" ({config.executors.engine})" if config.executors.engine != "inproc" else ""
    goals = f" ({spec.goals.dim} of them a goal)" if spec.goals else ""
    env = f"{config.env}{many}{engine}: {spec.observation_dim} observations{goals}, {spec.action_dim} actions"
    return [("agent", f"{config.agent}, preset {config.preset}, {which}"), ("environment", env)]


def _listed(seeds: Sequence[int]) -> str:
    first, last = seeds[0], seeds[-1]
    run = len(seeds) > 2 and list(seeds) == list(range(first, last + 1))
    return f"{first} to {last}" if run else ", ".join(map(str, seeds))


def _training(config: Config) -> str:
    ratio = "" if config.utd == 1 else f" ({config.utd:g} a step)"
    return f"{config.steps:,} environment steps, {updates_of(config):,} updates{ratio}"


def _layers(config: Config) -> str:
    below = f", on those of {config.from_layers}" if config.from_layers else ""
    if config.layers == 1:
        return f"1{below}"
    *first, last = [f"{steps:,}" for steps in config.layer_steps]
    return f"{config.layers}, of {', '.join(first)} and {last} steps{below}"


def _expectations(config: Config) -> str:
    evaluation = f"evaluation every {config.evaluation.every:,}" if config.evaluation.every else "no evaluation"
    return f"learning from step {config.learning_starts:,}, {evaluation}; Ctrl-C saves"


def _last_evaluation(runs: Sequence[Path], what: str) -> list[str]:
    """The newest evaluation under each protocol, over a run's episodes or over seeds."""
    records = [metrics.read(run / "eval.jsonl") for run in runs if (run / "eval.jsonl").exists()]
    newest = [{record["protocol"]: record for record in each} for each in records]
    lines = []
    for protocol in newest[0] if newest else ():
        found = [each[protocol] for each in newest if protocol in each]
        returns = found[0]["returns"] if what == "episodes" else [record["return"] for record in found]
        lines.append(f"last evaluation, {describe(found[0], returns, what)}")
    return lines


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count / 1e6:.2f} MB"


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Rows with aligned texts, which are broken where they are too long."""
    lines = []
    for label, text in rows:
        broken = textwrap.wrap(text, WIDTH - LABEL, break_long_words=False, break_on_hyphens=False)
        lines += [f"{before:<{LABEL}}{line}" for before, line in zip_longest([label], broken, fillvalue="")]
    return lines
