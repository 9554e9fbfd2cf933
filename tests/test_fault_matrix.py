"""What environments return that they should not, in every engine: used where it can be, else one line and no more.

`tests.support.lying_env` has the situations. All of them are tried in executors of this process and behind the worker's
end of a pipe, at the first step of an episode, in the middle and at the last. What the engines themselves add, which is
processes and the other seeds of a run, does not depend on which lie it was: there, one lie of each kind is told.
"""

import json
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp import run
from lsp.config import Config, ConfigError, ExecutorsConfig
from lsp.envs import EnvironmentFault
from lsp.executors import factory
from lsp.executors.inproc import make_group
from lsp.executors.worker_pool import Service
from lsp.storage import checkpoint
from lsp.types import ActionSample
from tests.support.lying_env import ACTION_DIM, RIGHT, WRONG, Lying
from tests.support.runs import command, compiled_once  # noqa: F401  # a fixture

LIMIT = 6  # steps of an episode
STEPS = 3 * LIMIT
PLACES = {"first": 1, "middle": 3, "last": LIMIT}
KINDS = (
    "reward is None",
    "reward is beyond float32",
    "observation is longer",
    "step returns four values",
    "raises",
    "exits",
    "raises a text that fails",
    "raises in reset",
)
"""A lie of each kind: of the reward, of the observation, of the interface, and errors, foreseen or not."""

ACTIONS = np.random.default_rng(0).uniform(-1.0, 1.0, (1, ACTION_DIM)).astype(np.float32)
Ask = Callable[..., Any]


@pytest.fixture(autouse=True)
def counted_from_here() -> Iterator[None]:
    Lying.made = 0
    yield
    Lying.made = 0


def lying(what: str, at: int, **executors: Any) -> Config:
    kwargs = json.dumps({"what": what, "at": at, "limit": LIMIT})
    settings = ExecutorsConfig(**executors)
    return Config(env="tests.support.lying_env:Lying", env_kwargs=kwargs, n_step=2, executors=settings)


def in_process(config: Config) -> Ask:
    """Ask executors of this process; `Executors` are made at the first request."""
    made: list[Any] = []

    def ask(request: str, *arguments: Any) -> Any:
        if not made:
            made.append(factory.make(config, [1]))
        return getattr(made[0], request)(*arguments)

    return ask


def in_worker(config: Config) -> Ask:
    """Ask as a learner asks a worker: what comes back has been through a pipe."""
    service = Service(partial(make_group, factory.ExecutorMaker(config, [1]), range(1), 0))

    def ask(request: str, *arguments: Any) -> Any:
        answer = pickle.loads(pickle.dumps(service.answer(request, *arguments)))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


ENGINES = {"inproc": in_process, "worker": in_worker}


def collect(ask: Ask, count: int = 1) -> list[Any]:
    actions = np.repeat(ACTIONS, count, axis=0)
    ask("reset")
    return [ask("step", ActionSample(actions, actions)) for _ in range(STEPS)]


def place_of(what: str, at: int) -> int:
    """`reset` is called once an episode: the first, or the second."""
    return at if WRONG[what].call == "step" else min(at, 2)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_used_is_said_in_one_line(what: str, engine: str, place: str) -> None:
    config = lying(what, place_of(what, PLACES[place]))
    with pytest.raises((EnvironmentFault, ConfigError)) as caught:
        collect(ENGINES[engine](config))
    message = str(caught.value)
    assert "\n" not in message
    assert "tests.support.lying_env:Lying" in message
    assert [word for word in WRONG[what].says if word not in message] == []


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("what", RIGHT)
def test_what_can_be_used_is_used(what: str, engine: str) -> None:
    """Every step's transition arrives, episodes end where they end, and their sums are numbers."""
    chunks = collect(ENGINES[engine](lying(what, 1)))
    assert sum(len(chunk.packed) for chunk in chunks) == STEPS - 1  # one is held back for its second step
    assert all(np.isfinite(chunk.packed).all() for chunk in chunks)
    episodes = [episode for chunk in chunks for episode in chunk.episodes]
    assert [episode.length for episode in episodes] == [LIMIT] * 3
    assert all(isinstance(value, float) for episode in episodes for value in episode.info.values())


@pytest.mark.slow
@pytest.mark.parametrize("what", KINDS)
def test_a_worker_process_tells_it_once_and_is_not_revived(what: str, capfd: pytest.CaptureFixture[str]) -> None:
    config = lying(what, place_of(what, 3), engine="process", count=2, workers=1)
    executors = factory.make(config, [1, 2])
    try:
        with pytest.raises(EnvironmentFault) as caught:
            collect(lambda request, *arguments: getattr(executors, request)(*arguments), count=2)
        assert [word for word in WRONG[what].says if word not in str(caught.value)] == []
        assert executors.stats() == {"executor_deaths": 0, "executor_restarts": 0}
    finally:
        executors.close()
    assert "begin new episodes" not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("what", KINDS)
def test_the_other_seeds_continue(what: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kwargs = json.dumps({"what": what, "at": place_of(what, 21), "only": 1})
    given = {"env": "tests.support.lying_env:Lying", "env_kwargs": kwargs, "seeds": "1,2", "executors__count": 1}
    folder = tmp_path / "run"
    code = run.main(command(folder, **given, steps=60, learning_starts=1000, warmup_steps=1000))
    (line,) = [text for text in capfd.readouterr().err.splitlines() if text.startswith("lsp: error:")]
    assert code == 1
    assert [word for word in ("seed ", *WRONG[what].says) if word not in line] == []
    documents = [json.loads((folder / f"seed_{seed}" / "config.json").read_text()) for seed in (1, 2)]
    assert ["failed" in document for document in documents].count(True) == 1
    steps = [max(checkpoint.steps(folder / f"seed_{seed}" / "checkpoints"), default=0) for seed in (1, 2)]
    assert max(steps) == 60
    assert min(steps) < 60
