"""Groups of executors do what one group does; a group that is lost comes back, and no transition counts twice."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lsp.config import ConfigError, ExecutorsConfig
from lsp.envs import EnvironmentFault, env_spec
from lsp.executors.inproc import InProcess, make_group
from lsp.executors.worker_pool import Service, WorkerFault, WorkerPool, split
from lsp.types import ActionSample, Chunk
from tests.support.workers import Mortal, maker
from tests.support.workers import executed as executed

COUNT, STEPS, N_STEP = 5, 23, 3
MAKER = maker(count=COUNT)
SPEC = env_spec(MAKER.config)
ACTIONS = [
    ActionSample(values, values + 10)
    for values in np.random.default_rng(1).uniform(-1, 1, (STEPS, COUNT, 2)).astype(np.float32)
]


def groups(
    workers: int, fatal: Callable[[range, int, int, str], bool] = lambda *_: False, timeout: float = 60.0
) -> WorkerPool:
    config = ExecutorsConfig(count=COUNT, timeout=timeout)
    return WorkerPool(lambda part, incarnation: Mortal(part, incarnation, fatal), SPEC, config, workers)


def stepped(pool: WorkerPool) -> list[Chunk]:
    """What it gives for all of `ACTIONS`."""
    return [pool.step(action) for action in ACTIONS]


@pytest.mark.parametrize(("count", "workers"), [(8, 2), (8, 8), (8, 3), (5, 4), (1, 1)])
def test_split(count: int, workers: int) -> None:
    parts = split(count, workers)
    assert [i for part in parts for i in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert len(parts) == workers


@pytest.mark.parametrize("workers", [1, 2, COUNT])
def test_equal_one_group(workers: int) -> None:
    many, one = groups(workers), InProcess(MAKER, COUNT)
    np.testing.assert_array_equal(many.reset(), one.reset(), strict=True)
    for number, action in enumerate(ACTIONS):
        np.testing.assert_equal(many.step(action)._asdict(), one.step(action)._asdict())
        if number == 9:  # an engine goes on with the state of another, however it was divided
            np.testing.assert_equal(many.get_state(), one.get_state())
            state, many = many.get_state(), groups(2)
            many.set_state(state)
    assert many.stats() == {"executor_deaths": 0, "executor_restarts": 0}


@pytest.mark.parametrize("fatal_request", range(2, 7))
@pytest.mark.parametrize("workers", [1, 2])
def test_a_death_costs_only_what_was_under_way(workers: int, fatal_request: int) -> None:
    """Before the first row is complete, as it is, and later."""
    pool = groups(workers, lambda part, incarnation, number, _: (part[0], incarnation, number) == (0, 0, fatal_request))
    pool.reset()
    chunks = stepped(pool)
    lost = len(split(COUNT, workers)[0])
    assert pool.stats() == {"executor_deaths": lost, "executor_restarts": lost}
    rows = [row for chunk in chunks for row in chunk.packed]
    origins = [tuple(origin) for chunk in chunks for origin in chunk.origins.tolist()]
    assert len(rows) == len(set(origins)) == len(origins)
    assert {chunk.packed.shape for chunk in chunks if chunk.complete} == {(COUNT, 12)}
    for executor in range(COUNT):
        mine = [origin[1:] for origin in origins if origin[0] == executor]
        lives = {life: [number for at, number in mine if at == life] for life, _ in mine}
        assert all(numbers == list(range(len(numbers))) for numbers in lives.values())  # no hole
        assert mine == sorted(mine)
        assert (1 in lives) == (executor < lost)


def test_new_episodes_are_new() -> None:
    """The successor's first observation is neither its predecessor's nor a neighbor's."""
    pool = groups(COUNT, lambda part, incarnation, number, _: incarnation == 0 and number == 2)
    first, second = pool.reset(), pool.step(ACTIONS[0]).observations
    fresh = np.stack([MAKER(i, 1).reset() for i in range(COUNT)])
    assert len(np.unique(np.concatenate([first, fresh]), axis=0)) == 2 * COUNT
    assert np.abs(second[:, :2] - fresh[:, :2]).max() < 0.1  # a step away from it


@pytest.mark.parametrize("fatal_request", ["get_state", "set_state", "reset"])
def test_a_death_outside_a_step(fatal_request: str) -> None:
    pool = groups(2, lambda part, life, _, request: (part[0], life, request) == (0, 0, fatal_request))
    pool.reset()
    before = [pool.step(action) for action in ACTIONS[:6]]
    pool.set_state(pool.get_state())
    after = [pool.step(action) for action in ACTIONS[6:]]
    assert pool.stats() == {"executor_deaths": 2, "executor_restarts": 2}
    origins = [tuple(origin) for chunk in before + after for origin in chunk.origins.tolist()]
    assert len(set(origins)) == len(origins)
    assert all(chunk.complete for chunk in after)


def test_incarnations_go_on_after_a_resume() -> None:
    first = groups(2, lambda part, life, number, _: life == 0 and number == 4)
    first.reset()
    for action in ACTIONS[:8]:
        last = first.step(action)
    second = groups(2, lambda part, life, number, _: life == 0 and number == 3)
    second.set_state(first.get_state())
    seen = {tuple(origin) for origin in last.origins.tolist()}
    lives = []
    for action in ACTIONS[8:]:
        origins = [tuple(origin) for origin in second.step(action).origins.tolist()]
        assert not seen & set(origins)
        seen |= set(origins)
        lives.append({life for _, life, _ in origins})
    assert lives[0] == {1}
    assert lives[-1] == {2}


def test_a_new_reward_stays_with_those_that_come_back() -> None:
    """Here a step costs nothing and every row would be worth 0, were it not for the new reward."""
    pool = groups(2, lambda part, life, number, _: (part[0], life, number) == (0, 0, 9))
    pool.reset()
    before = [pool.step(action) for action in ACTIONS[:4]]
    pool.set_reward("0*env")
    after = [pool.step(action) for action in ACTIONS[4:]]
    assert pool.stats() == {"executor_deaths": 2, "executor_restarts": 2}
    assert all(np.all(chunk.packed[:, 6] != 0) for chunk in before if chunk.complete)
    assert [chunk.complete for chunk in after[:N_STEP]] == [False] * (N_STEP - 1) + [True]
    assert all(np.all(chunk.packed[:, 6] == 0) for chunk in after if chunk.complete)
    assert {life for chunk in after for _, life, _ in chunk.origins.tolist()} == {0, 1}


def test_one_that_dies_again_while_it_starts() -> None:
    pool = groups(2, lambda part, life, number, _: part[0] == 2 and (life, number) in ((0, 4), (1, 1)))
    pool.reset()
    for action in ACTIONS:
        origins = pool.step(action).origins
    assert pool.stats() == {"executor_deaths": 6, "executor_restarts": 6}
    assert origins[:, 1].tolist() == [0, 0, 2, 2, 2]


def test_one_that_cannot_live() -> None:
    pool = groups(2, lambda part, life, number, _: part[0] == 2)
    with pytest.raises(EnvironmentFault, match=r"^the worker of executors 2 to 4 died, 3 times in a row after"):
        pool.reset()
    assert pool.stats() == {"executor_deaths": 9, "executor_restarts": 0}


def test_one_that_falls_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Mortal, "mute", True)
    pool = groups(2, lambda part, life, number, _: (part[0], life, number) == (2, 0, 4), 7.0)
    pool.reset()
    origins = [tuple(each) for action in ACTIONS for each in pool.step(action).origins.tolist()]
    assert pool.stats() == {"executor_deaths": 3, "executor_restarts": 3}
    assert len(set(origins)) == len(origins)
    assert capsys.readouterr().err == (
        "the worker of executors 2 to 4 did not answer within --executors.timeout=7 seconds: they begin new episodes\n"
    )
    pool = groups(2, lambda part, life, number, _: part[0] == 2, 0.5)
    with pytest.raises(EnvironmentFault, match=r"--executors\.timeout=0\.5 seconds, 3 times in a row"):
        pool.reset()


def test_a_state_of_others() -> None:
    with pytest.raises(ValueError, match="a state of 4 executors for 5"):
        groups(2).set_state({"executors": [{}] * 4, "origins": np.zeros((4, 3), int)})


@pytest.mark.parametrize("step", [2, 3])
def test_one_that_never_gives_a_transition(step: int) -> None:
    """It starts up and resets each time, and dies before its n-step returns are complete."""
    pool = groups(2, lambda part, life, number, request: part[0] == 2 and request == "step" and number == 1 + step)
    pool.reset()
    with pytest.raises(EnvironmentFault, match="the worker of executors 2 to 4 died, 3 times in a row"):
        stepped(pool)
    assert pool.stats()["executor_deaths"] == 9


def test_one_that_dies_often_but_gives_transitions_in_between() -> None:
    pool = groups(2, lambda part, life, number, request: part[0] == 2 and number == 6)
    pool.reset()
    chunks = stepped(pool)
    assert pool.stats()["executor_restarts"] > 3 * 3
    origins = [tuple(origin) for chunk in chunks for origin in chunk.origins.tolist()]
    assert len(set(origins)) == len(origins) == COUNT * (STEPS - N_STEP + 1)


def test_one_that_can_be_made_once_only() -> None:
    """Its successor says why not; that is no bad configuration, for it could be made before."""

    def launch(part: range, incarnation: int) -> Mortal:
        worker = Mortal(part, incarnation, lambda part, life, number, _: (part[0], life, number) == (0, 0, 3))
        if incarnation:
            worker.receive = lambda: (_ for _ in ()).throw(ConfigError("no licence"))  # type: ignore[method-assign]
        return worker

    pool = WorkerPool(launch, SPEC, ExecutorsConfig(count=COUNT), 2)
    pool.reset()
    with pytest.raises(EnvironmentFault, match=r"^no licence$"):
        stepped(pool)


def test_a_fault_is_told_once_and_leaves_no_answer_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception is no death; and what the other workers said to the same request is not taken for a later one."""
    faults = iter([EnvironmentFault("broke a leg"), EnvironmentFault("broke another")])
    pool = groups(COUNT)
    pool.reset()
    receive = Mortal.receive

    def failing(self: Mortal) -> Any:
        answer = receive(self)
        if self.part[0] in (1, 3) and self.request[0] == "step":
            raise next(faults)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Mortal, "receive", failing)
        with pytest.raises(EnvironmentFault, match=r"^broke a leg$"):
            pool.step(ACTIONS[0])
    assert pool.stats() == {"executor_deaths": 0, "executor_restarts": 0}
    assert [state["steps"] for state in pool.get_state()["executors"]] == [1] * COUNT


# Actions whose meaning depends on the observation, as above frozen layers


def decode(layer_action: np.ndarray, observation: np.ndarray) -> np.ndarray:
    return np.tanh(layer_action + observation[..., :2])


def chosen(observations: np.ndarray, rng: np.random.Generator) -> ActionSample:
    layer_action = rng.normal(size=(COUNT, 2)).astype(np.float32)
    return ActionSample(decode(layer_action, observations), layer_action)


@pytest.mark.parametrize("fatal_request", [2, 3, 4, 9, "get_state", "set_reward"])
@pytest.mark.parametrize("workers", [1, 2])
def test_new_episodes_get_actions_of_their_own(
    fatal_request: int | str, workers: int, executed: list[tuple[np.ndarray, ...]]
) -> None:
    """A stored action of the layer decodes, at the stored observation, to what was executed; in every step."""

    def fatal(part: range, life: int, number: int, request: str) -> bool:
        return (part[0], life) == (0, 0) and fatal_request in (number, request)

    pool, rng = groups(workers, fatal), np.random.default_rng(3)
    pool.set_chooser(lambda observations: chosen(observations, rng))
    observations, chunks = pool.reset(), []
    for number in range(STEPS):
        if number == 10:
            pool.get_state()
            pool.set_reward("2*env")
        chunks.append(pool.step(chosen(observations, rng)))
        observations = chunks[-1].observations
    assert pool.stats()["executor_restarts"] == len(split(COUNT, workers)[0])
    assert len(executed) >= STEPS * COUNT
    for observation, env_action, layer_action in executed:
        np.testing.assert_allclose(env_action, decode(layer_action, observation), rtol=1e-6)
    pairs = {(observation.tobytes(), layer_action.tobytes()) for observation, _, layer_action in executed}
    rows = [row for chunk in chunks for row in chunk.packed]
    assert {(row[:4].tobytes(), row[4:6].tobytes()) for row in rows} <= pairs
    assert {len(chunk.packed) for chunk in chunks} == {0, COUNT}


def test_nobody_is_asked_for_actions_while_all_live() -> None:
    pool = groups(2)
    pool.set_chooser(lambda observations: pytest.fail("nothing is new"))
    pool.reset()
    for action in ACTIONS:
        pool.step(action)
    pool.set_state(pool.get_state())
    pool.step(ACTIONS[0])


# The worker's end


def service_of(error: BaseException) -> Service:
    def fail() -> Any:
        raise error

    return Service(fail)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Peculiar(EnvironmentFault):
    """Cannot be made from its message alone."""

    def __init__(self, what: str, when: int) -> None:
        super().__init__(f"{what} at {when}")


def test_a_service_makes_late_and_answers_with_what_was_raised() -> None:
    def fail() -> Any:
        raise ConfigError("no such thing")

    answer = Service(fail).answer("reset")
    assert (type(answer), str(answer)) == (ConfigError, "no such thing")
    service = Service(lambda: make_group(MAKER, range(2), 0))
    np.testing.assert_array_equal(service.answer("reset"), make_group(MAKER, range(2), 0).reset())
    assert service.answer("set_reward", "2*env") is None
    assert isinstance(service.answer("set_reward", "no_such:thing"), ConfigError)
    service.close()
    Service(fail).close()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (EnvironmentFault("broke a leg"), EnvironmentFault, "broke a leg"),
        (Peculiar("fell", 3), EnvironmentFault, "fell at 3"),
        (MemoryError(), WorkerFault, "raised MemoryError: "),
        (SystemExit(3), WorkerFault, "raised SystemExit: 3 "),
        (KeyboardInterrupt(), WorkerFault, "raised KeyboardInterrupt: "),
        (KeyError("two\nlines"), WorkerFault, "raised KeyError: 'two\\nlines' "),
        (RuntimeError("two\nlines"), WorkerFault, "raised RuntimeError: two lines "),
        (Unspeakable(), WorkerFault, "raised Unspeakable: it cannot be said what "),
        (OSError(lambda: 0), WorkerFault, "raised OSError: "),  # its argument cannot be pickled
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_is_raised_can_be_sent_in_one_line(error: BaseException, kind: type, message: str) -> None:
    answer = pickle.loads(pickle.dumps(service_of(error).answer("reset")))
    assert type(answer) is kind
    assert str(answer).startswith(message)
    assert "\n" not in str(answer)
    if kind is WorkerFault:
        assert str(answer).endswith("when asked to reset")
        assert "(test_worker_pool.py:" in str(answer)
