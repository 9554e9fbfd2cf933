"""What is the whole process's is each environment's own: folders, generators, what NumPy does about errors."""

# ruff: noqa: NPY002  # the old generators are what this is about

import os
import random
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from lsp import envs
from lsp.config import Config
from lsp.envs import guest
from lsp.envs.guest import Guest, seed_generators

HERE = f"{__name__}:Gambler"


class Gambler(gymnasium.Env[Any, Any]):
    """Draws from every generator that it did not make; `place` is where its constructor goes."""

    observation_space, action_space = Box(-9, 9, (5,), np.float64), Box(-1.0, 1.0, (1,))

    def __init__(self, place: str = "", late: int = 0) -> None:
        self.gravity = np.random.uniform() + random.random()
        self.late, self.steps = late, 0
        if place:
            os.chdir(place)

    def observe(self) -> np.ndarray:
        if self.steps < self.late:
            return np.zeros(5)
        own = self.np_random.normal(), self.observation_space.sample()[0]
        return np.array([*own, np.random.normal(), random.random(), self.gravity])

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.observe(), {"folder": os.getcwd()}  # without Gymnasium's own seeding

    def step(self, action: np.ndarray) -> Any:
        self.steps += 1
        return self.observe(), 0.0, False, False, {"folder": os.getcwd()}


def episode(env: Any, seed: int | None = None, steps: int = 4) -> list[Any]:
    first = env.reset(seed=seed)[0].tolist()
    return [first, *(env.step(np.zeros(1, np.float32))[0].tolist() for _ in range(steps))]


def seeded(seed: int = 3) -> envs.BoxEnv:
    return envs.make_seeded(Config(env=HERE), seed)


def test_a_seed_repeats_what_is_drawn_from_the_global_generators() -> None:
    one = episode(seeded(), 7) + episode(seeded(), None)
    np.random.seed(11)
    random.seed(12)
    assert episode(seeded(), 7) == one[:5]
    assert episode(seeded(4), 7) != one[:5]
    assert episode(seeded(), 8) != one[:5]


def test_environments_do_not_disturb_each_other_nor_the_process() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist()
    alone = episode(seeded(), 7)
    one, other = seeded(), seeded()
    one.reset(seed=7)
    other.reset(seed=9)
    mixed = []
    for _ in range(4):
        mixed.append(one.step(np.zeros(1, np.float32))[0].tolist())
        other.step(np.zeros(1, np.float32))
    # Its spaces belong to the class, and so to both; everything else is its own.
    assert [row[2:] for row in mixed] == [row[2:] for row in alone[1:]]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_one_that_seeds_the_process_itself() -> None:
    host = Guest(5)
    before = random.random(), np.random.random()
    host.call(np.random.seed, 1)
    host.call(random.seed, 1)
    expected = np.random.RandomState(1).random(), random.Random(1).random()
    assert (host.call(np.random.random), host.call(random.random)) == expected
    assert (random.random(), np.random.random()) != before


def test_slow_swapping_ends_where_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "TRIAL", 3)
    calls = []
    setstate = random.setstate
    monkeypatch.setattr(random, "setstate", lambda state: (calls.append(1), setstate(state)))
    honest, gambler = Guest(1), Guest(1)
    for _ in range(10):
        honest.call(len, "")
    assert len(calls) == 5  # in and out, but for the last time: what draws later finds a seeded state
    assert random.random() == random.Random(1).random()
    drawn = [gambler.call(random.random) for _ in range(10)]
    reference = random.Random(1)
    assert drawn == [reference.random() for _ in range(10)]


def test_each_finds_the_folder_it_went_to(tmp_path: Path) -> None:
    home = os.getcwd()
    env, other = envs.make(HERE, place=str(tmp_path)), envs.make(HERE)
    assert os.getcwd() == home
    for _ in range(2):
        assert env.reset(seed=0)[1]["folder"] == str(tmp_path)
        assert other.reset(seed=0)[1]["folder"] == home
        assert env.step(np.zeros(1, np.float32))[4]["folder"] == str(tmp_path)
    assert os.getcwd() == home


def test_a_module_that_goes_somewhere_when_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").mkdir()
    lines = ["import os", f"from {__name__} import Gambler", "os.chdir(os.path.dirname(__file__) + '/assets')"]
    (tmp_path / "wandering_task.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    home = os.getcwd()
    for _ in range(2):
        assert envs.make("wandering_task:Gambler").reset(seed=0)[1]["folder"] == str(tmp_path / "assets")
        assert os.getcwd() == home


def test_back_where_it_was_after_an_error(tmp_path: Path) -> None:
    def leave() -> None:
        os.chdir(tmp_path)
        np.seterr(all="raise")
        random.random()
        raise ArithmeticError

    home, errors, state = os.getcwd(), np.geterr(), random.getstate()
    host = Guest(0)
    with pytest.raises(ArithmeticError):
        host.call(leave)
    assert (os.getcwd(), np.geterr(), random.getstate()) == (home, errors, state)
    assert host.call(lambda: (os.getcwd(), np.geterr()["over"])) == (str(tmp_path), "raise")
    host.call(os.chdir, home)
    assert host.call(os.getcwd) == home


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    place = tmp_path / "gone"
    place.mkdir()
    host = Guest(0)
    host.call(os.chdir, place)
    place.rmdir()
    assert host.call(len, "abc") == 3


def test_known_environments_need_no_guest() -> None:
    assert envs.make("lsp/PointMass-v0").guest is None
    assert envs.make("Pendulum-v1").guest is None
    assert envs.make(HERE).guest is not None


def test_seeding_of_odd_environments_is_harmless() -> None:
    class Odd(gymnasium.Env[Any, Any]):
        np_random = property(lambda self: 3)
        action_space = None

    seed_generators(Odd(), 3)
