"""Arguments reach those who have parameters of their names."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from lsp import envs
from lsp.config import ConfigError
from lsp.envs import signatures
from lsp.envs.signatures import parameter, split_limit

HERE = __name__


class Base(gymnasium.Env[Any, Any]):
    """Remembers what its reset was given."""

    observation_space, action_space = Box(-9, 9, (1,), np.float64), Box(-1.0, 1.0, (1,))
    given: Any = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.given = {"seed": seed, "options": options}
        return self.np_random.uniform(size=1), {}

    def step(self, action: np.ndarray) -> Any:
        return self.np_random.uniform(size=1), 0.0, False, False, {}


class Limited(Base):
    def __init__(self, max_episode_steps: int = 50, seed: int = 0, id: str = "") -> None:
        self.limit, self.own_seed, self.id = max_episode_steps, seed, id


class Needing(Base):
    def __init__(self, max_episode_steps: int, seed: int) -> None:
        self.limit, self.own_seed = max_episode_steps, seed


class Passing(Limited):
    def __init__(self, weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class Dropping(Limited):
    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()


class Swallowing(Base):
    def __init__(self, **kwargs: Any) -> None:
        self.kwargs = kwargs


class Wrapped(gymnasium.Wrapper[Any, Any, Any, Any]):
    def __init__(self, inside: str = "Limited", **kwargs: Any) -> None:
        super().__init__(globals()[inside](**kwargs))


class Drawn(Base):
    def __init__(self, render_mode: str | None) -> None:
        self.render_mode = render_mode


class Around(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A wrapper whose reset takes nothing."""

    def __init__(self) -> None:
        super().__init__(Limited())

    def reset(self) -> Any:  # type: ignore[override]
        return self.env.reset()


@pytest.mark.parametrize(
    ("maker", "expected"),
    [
        (Limited, True),
        (Needing, True),
        (Passing, True),
        (Dropping, False),
        (Swallowing, False),
        (Base, False),
        (lambda max_episode_steps: None, True),
        (lambda **kwargs: None, False),
        (len, False),
    ],
)
def test_parameters(maker: Any, expected: bool) -> None:
    assert (parameter(maker, "max_episode_steps") is not None) == expected
    arguments, limit = split_limit(maker, {"max_episode_steps": 7, "weight": 2})
    assert limit == 7
    assert arguments == {"weight": 2} | ({"max_episode_steps": 7} if expected else {})


@pytest.mark.parametrize("value", [None, -1, "endless"])
def test_a_limit_that_only_its_owner_understands(value: Any) -> None:
    assert split_limit(Limited, {"max_episode_steps": value}) == ({"max_episode_steps": value}, None)


@pytest.mark.parametrize(("given", "expected"), [({}, None), ({"render_mode": "rgb_array"}, "rgb_array")])
def test_a_constructor_that_needs_a_render_mode(given: dict[str, Any], expected: str | None) -> None:
    env: Any = envs.make(f"{HERE}:Drawn", **given)
    assert env.unwrapped.render_mode == expected


def steps_of(env: Any) -> int:
    env.reset(seed=0)
    for step in range(1, 100):
        if env.step(np.zeros(1, np.float32))[3]:
            return step
    return 0


@pytest.mark.parametrize("name", ["Limited", "Passing", "Needing"])
def test_a_time_limit_of_its_own(name: str) -> None:
    seed = {"seed": 5} if name == "Needing" else {}
    env: Any = envs.make(f"{HERE}:{name}", max_episode_steps=7, **seed)
    assert env.unwrapped.limit == 7
    assert steps_of(env) == 7


@pytest.mark.parametrize(("inside", "limit"), [("Limited", 7), ("Base", None), ("Dropping", 50)])
def test_a_limit_that_a_wrapper_hands_on(inside: str, limit: int | None) -> None:
    env: Any = envs.make(f"{HERE}:Wrapped", inside=inside, max_episode_steps=7)
    assert getattr(env.unwrapped, "limit", None) == limit
    assert steps_of(env) == 7


@pytest.mark.parametrize("name", ["Dropping", "Swallowing", "Base"])
def test_else_ours(name: str) -> None:
    assert steps_of(envs.make(f"{HERE}:{name}", max_episode_steps=7)) == 7


def test_whoever_needs_one_says_so() -> None:
    with pytest.raises(ConfigError, match="missing 2 required positional arguments: 'max_episode_steps' and 'seed'"):
        envs.make(f"{HERE}:Needing")


@pytest.fixture(params=[None, 20])
def registered(request: pytest.FixtureRequest) -> Any:
    """Ids of the classes above, without a registered limit and with one."""
    for name in ("Limited", "Needing", "Dropping"):
        gymnasium.register(f"tests/{name}-v0", f"{HERE}:{name}", max_episode_steps=request.param)
    gymnasium.register("tests/Fixed-v0", Limited, max_episode_steps=request.param, kwargs={"max_episode_steps": 9})
    yield request.param
    for name in ("Limited", "Needing", "Dropping", "Fixed"):
        del gymnasium.registry[f"tests/{name}-v0"]


def test_ids_too(registered: int | None) -> None:
    """And arguments that are named like those of `gymnasium.make`."""
    env: Any = envs.make("tests/Limited-v0", max_episode_steps=7, seed=3, id="mine")
    assert (env.unwrapped.limit, env.unwrapped.own_seed, env.unwrapped.id) == (7, 3, "mine")
    assert steps_of(env) == 7
    env = envs.make(f"{HERE}:tests/Needing-v0", max_episode_steps=30, seed=3)
    assert (env.unwrapped.limit, steps_of(env)) == (30, 30)
    assert steps_of(envs.make("tests/Dropping-v0", max_episode_steps=7)) == 7
    env = envs.make("tests/Fixed-v0")
    assert (env.unwrapped.limit, steps_of(env)) == (9, registered or 0)
    assert envs.make("tests/Fixed-v0", max_episode_steps=4).unwrapped.limit == 4
    assert gymnasium.spec("tests/Limited-v0").kwargs == {}, "the registered one stays as it is"


class OldSeed(Base):
    def seed(self, seed: int) -> None:
        self.seeded = seed

    def reset(self) -> Any:  # type: ignore[override]
        self.given = {}
        return np.zeros(1), {}


class SeedOnly(Base):
    def reset(self, seed: int | None = None) -> Any:  # type: ignore[override]
        self.given = {"seed": seed}
        return np.zeros(1), {}


class NeedsOptions(Base):
    def reset(self, *, seed: int | None = None, options: dict[str, Any]) -> Any:  # type: ignore[override]
        self.given = {"seed": seed, "options": options}
        return np.zeros(1), {}


class OwnOptions(Base):
    def reset(self, *, seed: int | None = None, options: Any = {"level": 3}) -> Any:  # noqa: B006
        self.given = {"seed": seed, "options": options}
        return np.zeros(1), {}


class AssertsOptions(Base):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        assert isinstance(options, dict)
        return super().reset(seed=seed, options=options)


class ReadsOptions(Base):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        level = options.get("level", 1)
        return super().reset(seed=seed, options={"level": level})


class AssertsNone(Base):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        assert options is None, "no options here"
        return super().reset(seed=seed, options=options)


class Anything(Base):
    def reset(self, **kwargs: Any) -> Any:
        return super().reset(**kwargs)


@pytest.mark.parametrize("limit", [{}, {"max_episode_steps": 5}], ids=["bare", "below a time limit"])
@pytest.mark.parametrize(
    ("cls", "given"),
    [
        (Base, {"seed": 3, "options": None}),
        (OldSeed, {}),
        (SeedOnly, {"seed": 3}),
        (NeedsOptions, {"seed": 3, "options": {}}),
        (OwnOptions, {"seed": 3, "options": {"level": 3}}),
        (AssertsOptions, {"seed": 3, "options": {}}),
        (ReadsOptions, {"seed": 3, "options": {"level": 1}}),
        (AssertsNone, {"seed": 3, "options": None}),
        (Anything, {"seed": 3, "options": None}),
    ],
)
def test_each_reset_gets_what_it_takes(cls: Any, given: dict[str, Any], limit: dict[str, int]) -> None:
    env: Any = envs.make(f"{HERE}:{cls.__name__}", **limit)
    env.reset(seed=3)
    assert env.unwrapped.given == given
    env.step(np.zeros(1, np.float32))
    env.reset()
    assert env.unwrapped.given == given | ({"seed": None} if "seed" in given else {})


def test_options_are_passed_on_where_given() -> None:
    env: Any = envs.make(f"{HERE}:OwnOptions")
    env.reset(seed=3, options={"level": 9})
    assert env.unwrapped.given["options"] == {"level": 9}


def test_the_old_way_of_seeding() -> None:
    env: Any = envs.make(f"{HERE}:OldSeed")
    env.reset(seed=3)
    assert env.unwrapped.seeded == 3


def test_a_reset_without_a_seed_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what can be seeded is."""
    monkeypatch.setattr(signatures, "_said", set())
    first = []
    for _ in range(2):
        env = envs.make(f"{HERE}:Around")
        first.append(env.reset(seed=3)[0].tolist())
    assert first[0] == first[1]
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"the reset of environment {HERE}:Around takes no seed: --seed repeats what it draws from self.np_ran" in err
