"""The glossary has every name that a run writes into its files, and no other."""

import json
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jax
import pytest

from lsp import run
from lsp.agents import build
from lsp.config import Config
from lsp.envs import goals
from lsp.executors.terminals_last import TerminalsLast
from lsp.executors.worker_pool import WorkerPool
from lsp.report.old_names import renamed
from lsp.storage import metrics
from lsp.training import asynchronous
from lsp.training.device import metric_names
from lsp.training.evaluate import Evaluator
from lsp.training.interval import kind_of
from lsp.training.run import Run
from lsp.types import EnvSpec, Episode, GoalTask
from tests.support.builders import tiny_config
from tests.support.runs import command, compiled_once

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "metrics.md"
FILES = ("metrics.jsonl", "eval.jsonl")
SPEC = EnvSpec(3, 2)
WITH_GOALS = EnvSpec(5, 2, GoalTask(2, partial(goals.cost, radius=0.5), goals.never, max_episode_steps=20))
__all__ = ["compiled_once"]

SWITCHES: list[tuple[Config, EnvSpec]] = [
    (tiny_config(), SPEC),
    (tiny_config(**{"critic.kind": "categorical", "replay.kind": "prioritized", "replay.weights": "all"}), SPEC),
    (tiny_config(n_step=1, **{"critic.kind": "categorical", "critic.distribution_target": "as_written",
                              "critic.support": "even", "goals.kind": "hindsight"}), WITH_GOALS),
]  # fmt: skip
EPISODE = Episode(1.0, 5, False, {"speed": 2.0}, 1.0, 3.0, 0.5, True)


def rows(page: str) -> dict[str, dict[str, list[str]]]:
    """Of each file, its names and the other columns of their rows."""
    found: dict[str, dict[str, list[str]]] = {file: {} for file in FILES}
    for heading, section in re.findall(r"^## (.*?)$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL):
        for line in section.splitlines():
            if (named := re.match(r"\| `([^`]+)` \|", line)) and (file := heading.split("`")[1::2]):
                found[file[0]][named[1]] = [cell.strip() for cell in line.split("|")[2:-1]]
    return found


GLOSSARY = rows(PAGE.read_text())


def general(name: str) -> str:
    """A name as the glossary has it, where that stands for many."""
    return re.sub(r"^log_det/\d+$", "log_det/N", re.sub(r"^info/.*", "info/NAME", name))


@pytest.fixture(scope="module")
def of_learner() -> set[str]:
    """Names of every kind of learner and replay; nothing is compiled."""
    return {name for config, spec in SWITCHES for name in metric_names(build(config, spec), spec)}


@pytest.fixture
def of_workers(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What executors say of faults and of themselves, and asynchronous learning of the age of its data."""
    pool = WorkerPool.stats(cast(Any, SimpleNamespace(_deaths=0, _restarts=0)))
    inside = SimpleNamespace(stats=dict)
    queue = TerminalsLast.stats(cast(Any, SimpleNamespace(_executors=inside, _queues=([], []))))
    monkeypatch.setattr(asynchronous, "workers_of", lambda seed: SimpleNamespace(in_flight=lambda: 1))
    budget = SimpleNamespace(learning_starts=5, uncounted=0)
    seed = SimpleNamespace(step=10, updates=3, index=0, budget=budget)
    interval = SimpleNamespace(line=lambda index: {})
    loop = SimpleNamespace(device=SimpleNamespace(interval=interval), _staleness=[[1.0, 2.0]])
    aged = asynchronous.AsyncLoop.metrics(cast(Any, loop), cast(Any, seed))
    return {*pool, *queue, *aged}


@pytest.fixture(scope="module")
def of_host() -> dict[str, set[str]]:
    """What a run adds to all of that, with an episode that said everything and was cut."""
    seed = SimpleNamespace(step=10, updates=3, root=jax.random.key(0), index=0, executors=SimpleNamespace(stats=dict))
    lines: list[Any] = []
    evaluator = SimpleNamespace(_run=lambda *_: ([EPISODE], 1), _seeds=[7])
    run = SimpleNamespace(seed=seed, recent=[EPISODE], _says_success=True)
    run.stage = SimpleNamespace(layers=(), dropped=0.0)
    run._elapsed, run._loop = lambda: 1.0, SimpleNamespace(metrics=lambda seed: {})
    run._loop.device = SimpleNamespace(actor_params_of=lambda index: None)
    run._evaluator = lambda *_: [Evaluator._evaluate(cast(Any, evaluator), "mode", None, seed.root, True, print)]
    outputs = SimpleNamespace(write_evaluation=lambda *records: lines.extend(records))
    Run._evaluate(cast(Any, run), cast(Any, outputs), print)
    return {
        "metrics.jsonl": {general(name) for name in Run._metrics_line(cast(Any, run))},
        "eval.jsonl": {general(name) for name in lines[0]},
    }


def test_what_is_written_is_explained_and_nothing_else(
    of_host: dict[str, set[str]], of_learner: set[str], of_workers: set[str]
) -> None:
    known = of_host["metrics.jsonl"] | of_learner | of_workers
    assert GLOSSARY["metrics.jsonl"].keys() == known | {"log_det/N"}
    assert GLOSSARY["eval.jsonl"].keys() == of_host["eval.jsonl"]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [{"layers": 2, "layer_steps": "40,40"}, {"executors.queue": "as-coded"}], ids=str)
def test_what_runs_write(tmp_path: Path, flags: dict[str, Any], compiled_once: None) -> None:
    """Whole runs, whose files say nothing that is not explained."""
    queued = {"learning_starts": 5_100, "steps": 5_160} if "executors.queue" in flags else {"steps": 80}
    folder = tmp_path / "run"
    assert run.main(command(folder, evaluation__every=40, **queued, **flags)) == 0
    for file in FILES:
        names = {general(name) for line in metrics.read(folder / file) for name in line}
        assert len(names) > 8
        assert names - GLOSSARY[file].keys() == set()


def test_how_a_line_comes_about(of_learner: set[str]) -> None:
    """Mean, newest or largest, as the code has it."""
    says = {name: columns[2] for name, columns in GLOSSARY["metrics.jsonl"].items() if name in of_learner}
    assert says == {name: kind_of(name) for name in says}
    assert len(says) > 25


def test_rows_are_whole() -> None:
    for name, columns in (*GLOSSARY["metrics.jsonl"].items(), *GLOSSARY["eval.jsonl"].items()):
        assert len(columns) == 5, name
        assert columns[0], f"{name} has no meaning"


def test_published_runs_are_explained() -> None:
    """Under today's names."""
    for file in FILES:
        paths = list((ROOT / "runs" / "published").glob(f"*/{file}"))
        names = {general(name) for path in paths for name in renamed(json.loads(path.read_bytes().splitlines()[-1]))}
        assert len(paths) > 50
        assert names - GLOSSARY[file].keys() == set()
