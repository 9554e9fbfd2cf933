"""Evaluating again gives what the run's own evaluator gives: the same states, the same latents, whatever is loaded."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import lsp
from lsp.api.evaluation import _joined
from lsp.executors.episodes import record_of
from lsp.types import EnvSpec, Episode
from tests.support.policies import untrained

SHORT = {"env_kwargs": '{"max_episode_steps": 12}'}


class Own(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Somebody's pendulum, which does not say how it is made."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("Pendulum-v1", max_episode_steps=12))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> lsp.Run:
    return lsp.load(untrained(tmp_path_factory.mktemp("runs") / "run", **SHORT))


@pytest.mark.parametrize("protocol", ["mode", "sampled", "fixed_latent"])
def test_an_exported_policy_does_the_same(run: lsp.Run, tmp_path: Path, protocol: str) -> None:
    """By NumPy, and from the checkpoint by JAX: the same episodes up to rounding."""
    ours = run.evaluate(3, protocol, seed=5)
    exported = lsp.load(run.export(tmp_path / "policy")).evaluate(3, protocol, seed=5)
    np.testing.assert_array_equal(ours.lengths, [12, 12, 12])
    assert (exported.step, exported.protocol) == (100, protocol)
    np.testing.assert_allclose(exported.returns, ours.returns, rtol=1e-4)
    other = run.evaluate(3, protocol, seed=6)
    assert not np.allclose(other.returns, ours.returns)


@pytest.mark.parametrize("make", [Own, lambda: Own()], ids=["class", "lambda"])
def test_given_environments(run: lsp.Run, make: Any) -> None:
    """A callable is asked for one an episode; a single one takes an episode after the other."""
    expected = run.evaluate(3, seed=5)
    np.testing.assert_allclose(run.evaluate(3, seed=5, env=make).returns, expected.returns, rtol=1e-5)
    np.testing.assert_allclose(run.evaluate(3, seed=5, env=make()).returns, expected.returns, rtol=1e-5)
    sampled = run.evaluate(2, "fixed_latent", env=make(), seed=5)
    assert len(set(sampled.returns)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "mod"}, "^--protocol=mod: must be sampled, mode or fixed_latent; did you mean mode?"),
        ({"episodes": 0}, "^--episodes=0: must be a whole number from 1"),
        ({"seed": -1}, "^--seed=-1: must be a whole number from 0"),
        ({"env": "MountainCarContinuous-v0"}, "has 2 observations and 1 actions, which is not what the policy of "),
        ({"env": 3}, "^env=3: must be a name"),
    ],
)
def test_misuse(run: lsp.Run, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(lsp.ConfigError, match=message):
        run.evaluate(**{"episodes": 1} | arguments)


def test_records_of_one_episode_each_are_joined() -> None:
    one, other = Episode(1.0, 4, True, {"a": 1.0}, 1.0), Episode(3.0, 5, False, {}, None)
    joined = _joined([record_of([one]), record_of([other]) | {"cut": 1}])
    expected = record_of([one, other]) | {"return": 1.0, "cut": 1}  # the mean is that of `returns`
    assert joined == expected


def test_silence_of_a_task_that_has_said_it_is_failure(tmp_path: Path) -> None:
    run = untrained(tmp_path / "run", spec=EnvSpec(4, 2), env="lsp/PointMass-v0", env_kwargs='{"max_episode_steps": 3}')
    assert lsp.load(run).evaluate(1).success is None
    (run / "eval.jsonl").write_text('{"step": 1, "protocol": "mode", "success": [1.0]}\n')
    assert lsp.load(run).evaluate(1).success_rate == 0.0
