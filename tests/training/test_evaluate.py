"""Evaluation: what each protocol feeds the policy, and returns that equal those of a plain loop."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import envs
from lsp.config import ConfigError
from lsp.training.evaluate import Evaluator, about_cuts
from lsp.training.interrupt import Interrupted
from lsp.types import ActionSample, Agent, Array
from tests.support.runs import ACTIONS

PROTOCOLS = ("sampled", "mode", "fixed_latent")
SEEDS = [3, 14, 15]


def latent_is_action(params: Array, observation: Array, latent: Array) -> ActionSample:
    return ActionSample(latent, latent)


def steer(params: Array, observation: Array, latent: Array) -> ActionSample:
    """A policy for the point mass that heeds its parameters, the observation and the latent."""
    position = observation[..., :2]
    action = jnp.tanh(jnp.broadcast_to(params, position.shape) - position + 0.3 * latent)
    return ActionSample(action, action)


def agent_of(act_latent: Callable[[Array, Array, Array], ActionSample]) -> Agent:
    """An agent of which evaluation asks nothing else."""
    return Agent(**dict.fromkeys(Agent._fields, None) | {"act_latent": act_latent})


class Script(gymnasium.Env[np.ndarray, np.ndarray]):
    """Writes down the actions it is given. Its first state decides how long an episode is, and how it ends."""

    action_space = ACTIONS

    def __init__(self) -> None:
        self.actions: list[np.ndarray] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        assert seed is not None
        self.actions, self.length, self.falls = [], seed, seed % 2 == 0
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.actions.append(action.copy())
        assert len(self.actions) <= self.length, "stepped after the end of its episode"
        ended = len(self.actions) == self.length
        return np.zeros(1, np.float32), 0.5, ended and self.falls, ended and not self.falls, {"speed": 2.0}


def without_clock(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name != "evaluation_seconds"} for record in results]


def evaluator_of(
    act_latent: Callable[[Array, Array, Array], ActionSample],
    make: Callable[[], Any],
    protocols: Sequence[str] = ("mode",),
    max_steps: int = 1_000,
) -> Evaluator:
    evaluator = Evaluator(make, protocols, SEEDS, max_steps)
    evaluator.evaluate(agent_of(act_latent))
    return evaluator


def scripted(protocol: str, key: jax.Array, max_steps: int = 1_000) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The record, and the actions of each episode, [length, A]."""
    made: list[Script] = []

    def make() -> Script:
        made.append(Script())
        return made[-1]

    evaluator = evaluator_of(latent_is_action, make, [protocol], max_steps)
    (record,) = evaluator(jnp.zeros(()), key)
    evaluator.close()
    return record, [np.stack(env.actions) for env in made]


def test_mode_has_latent_zero(key: jax.Array) -> None:
    assert all((actions == 0).all() for actions in scripted("mode", key)[1])


def test_fixed_latent_is_held_for_an_episode(key: jax.Array) -> None:
    episodes = scripted("fixed_latent", key)[1]
    assert all((actions == actions[0]).all() for actions in episodes)
    held = np.stack([actions[0] for actions in episodes])
    assert len(np.unique(held)) == held.size
    later = scripted("fixed_latent", jax.random.key(1))[1]
    assert not np.isin(np.stack([actions[0] for actions in later]), held).any()


def test_sampled_draws_anew(key: jax.Array) -> None:
    episodes = np.concatenate(scripted("sampled", key)[1])
    assert len(np.unique(episodes)) == episodes.size == sum(SEEDS) * 8
    # Of 256 standard normals: each bound is four standard errors away.
    assert abs(episodes.mean()) < 4 / 16
    assert abs(episodes.var() - 1) < 4 * np.sqrt(2) / 16


def test_episodes_end_by_themselves(key: jax.Array) -> None:
    record, actions = scripted("sampled", key)
    assert [len(episode) for episode in actions] == SEEDS
    assert record["lengths"] == SEEDS
    assert record["terminated"] == [False, True, False]  # terminated, not truncated
    assert record["returns"] == [0.5 * length for length in SEEDS]
    assert record["return"] == pytest.approx(0.5 * np.mean(SEEDS))
    assert record["info/speed"] == [2.0, 2.0, 2.0]
    assert record["motionless"] == [0.0, 0.0, 0.0]
    assert record["seeds"] == SEEDS
    assert record["evaluation_seconds"] > 0


@pytest.mark.parametrize(("force", "share"), [(0.0, 1.0), (0.5, 0.0)])
def test_motionless_steps(force: float, share: float, key: jax.Array) -> None:
    """At rest under no force, under a steady one not; and nothing is truncated for it."""

    def push(params: Array, observation: Array, latent: Array) -> ActionSample:
        return ActionSample(latent + force, latent)

    evaluator = evaluator_of(push, partial(envs.make, "lsp/PointMass-v0", max_episode_steps=120))
    (record,) = evaluator(jnp.zeros(()), key)
    evaluator.close()
    assert (record["lengths"], record["motionless"]) == ([120] * 3, [share] * 3)


def test_an_episode_without_end_is_cut(key: jax.Array) -> None:
    """At the limit and not before; one that ends there by itself is not cut."""
    record, actions = scripted("mode", key, max_steps=14)
    assert record["lengths"] == [len(episode) for episode in actions] == [3, 14, 14]
    assert record["terminated"] == [False, True, False]
    assert record["cut"] == 1
    text = about_cuts([record, record], 14)
    assert text == "2 of 6 episodes of evaluation did not end by --evaluation.max-episode-steps=14: cut"
    whole, _ = scripted("mode", key, max_steps=15)
    assert "cut" not in whole
    assert about_cuts([whole], 15) == ""


@pytest.mark.parametrize("calls", [1, 3, 4, 20])
def test_it_can_be_stopped_between_any_two_steps(calls: int, key: jax.Array) -> None:
    """In a reset, and in any environment's step; it says how far it is; the next evaluation is as if nothing was."""
    made: list[Script] = []

    def make() -> Script:
        made.append(Script())
        return made[-1]

    said: list[str] = []

    def watch(text: Callable[[], str]) -> None:
        said.append(text())
        if len(said) == calls:
            raise Interrupted

    evaluator = evaluator_of(latent_is_action, make, PROTOCOLS)
    with pytest.raises(Interrupted):
        evaluator(jnp.zeros(()), key, watch=watch)
    steps = sum(len(env.actions) for env in made)
    assert steps == max(0, calls - len(SEEDS) - 1)
    assert said[0] == "evaluating, sampled policy: 0 of 3 episodes done, step 0"
    if calls == 20:
        assert said[-1] == "evaluating, sampled policy: 1 of 3 episodes done, step 7"
    records = without_clock(evaluator(jnp.zeros(()), key))
    assert records == without_clock(evaluator_of(latent_is_action, make, PROTOCOLS)(jnp.zeros(()), key))


class Fragile(Script):
    """Raises in its fifth step, and again when it is closed; one at a time may be alive."""

    alive = 0

    def __init__(self) -> None:
        super().__init__()
        if Fragile.alive == len(SEEDS):
            raise ConfigError("environment x cannot be made: no more seats")
        Fragile.alive += 1

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if len(self.actions) == 4:
            raise ZeroDivisionError("broken")
        return super().step(action)

    def close(self) -> None:
        Fragile.alive -= 1
        raise OSError("cannot close")


def test_after_a_fault_environments_are_new(key: jax.Array) -> None:
    """The next seed of a sweep is evaluated in environments that nothing has happened to."""
    evaluator = evaluator_of(latent_is_action, Fragile)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            evaluator(jnp.zeros(()), key)
        assert Fragile.alive == 0


def test_environments_are_made_when_they_are_needed(key: jax.Array) -> None:
    made: list[Script] = []
    evaluator = evaluator_of(latent_is_action, lambda: made.append(Script()) or made[-1])
    other = evaluator.reseeded([2, 4, 6])
    assert made == []
    evaluator.prepare()
    assert len(made) == 3
    assert other(jnp.zeros(()), key)[0]["lengths"] == [2, 4, 6]
    assert len(made) == 3


def test_too_few_environments_are_one_line_with_a_remedy() -> None:
    Fragile.alive = 1
    with pytest.raises(ConfigError) as caught:
        evaluator_of(latent_is_action, Fragile).prepare()
    Fragile.alive = 0
    assert str(caught.value) == (
        "evaluation needs environments of its own, and 2 of --evaluation.episodes=3 environments could be made: "
        "environment x cannot be made: no more seats; train without evaluation: --evaluation.every=0"
    )


def test_what_only_some_episodes_say(key: jax.Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the first one, and in one step only."""
    step = Script.step

    def quiet(self: Script, action: np.ndarray) -> Any:
        met = self.length == 14 and len(self.actions) == 5
        return *step(self, action)[:4], {"lap": 1.5, "is_success": True} if met else {}

    monkeypatch.setattr(Script, "step", quiet)
    record, _ = scripted("mode", key)
    assert (record["success"], record["info/lap"]) == ([0.0, 1.0, 0.0], [None, 1.5, None])
    assert "info/speed" not in record


def point_mass() -> envs.BoxEnv:
    return envs.make("lsp/PointMass-v0", max_episode_steps=7)


def test_returns_equal_those_of_a_plain_loop(key: jax.Array) -> None:
    params = jnp.array([0.2, -0.1])
    evaluator = evaluator_of(steer, point_mass)
    (record,) = evaluator(params, key)
    evaluator.close()
    for episode, seed in enumerate(SEEDS):
        env = point_mass()
        observation, _ = env.reset(seed=seed)
        total, distances, over = 0.0, [], False
        while not over:
            action = steer(params, observation, jnp.zeros(2)).env_action
            observation, reward, terminated, truncated, info = env.step(np.asarray(action))
            total, over = total + reward, terminated or truncated
            distances.append(info["distance"])
        assert record["returns"][episode] == pytest.approx(total, rel=1e-6)
        assert record["info/distance"][episode] == pytest.approx(np.mean(distances), rel=1e-6)
        assert record["lengths"][episode] == len(distances) == 7


def test_same_policy_and_key_same_record() -> None:
    """Also after other evaluations in between: nothing is carried over from one to the next."""
    evaluator = evaluator_of(steer, point_mass, PROTOCOLS)
    keys = jax.random.split(jax.random.key(5), 2)
    first = without_clock(evaluator(jnp.zeros(2), keys[0]))
    other_key = without_clock(evaluator(jnp.zeros(2), keys[1]))
    other_policy = without_clock(evaluator(jnp.ones(2), keys[0]))
    assert without_clock(evaluator(jnp.zeros(2), keys[0])) == first
    evaluator.close()
    assert [record["protocol"] for record in first] == list(PROTOCOLS)
    for (one, two, three), protocol in zip(zip(first, other_key, other_policy, strict=True), PROTOCOLS, strict=True):
        assert (one == two) == (protocol == "mode")
        assert one["returns"] != three["returns"]
