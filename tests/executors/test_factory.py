"""A configuration gets the engine it asks for."""

import dataclasses
import pickle
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from lsp import envs
from lsp.config import Config, ConfigError, ExecutorsConfig, validate
from lsp.executors import factory
from lsp.executors.inproc import InProcess
from lsp.executors.process import cores
from lsp.executors.worker_pool import WorkerPool
from lsp.types import ActionSample

COUNT = 3
SEEDS = (4, 5, 6)


def config(**executors: Any) -> Config:
    return Config(env="lsp/PointMass-v0", n_step=1, executors=ExecutorsConfig(count=COUNT, **executors))


def test_makers_travel() -> None:
    maker = factory.ExecutorMaker(config(), SEEDS)
    copy = pickle.loads(pickle.dumps(maker))
    for index, life in ((0, 0), (2, 0), (2, 1)):
        np.testing.assert_array_equal(copy(index, life).reset(), maker(index, life).reset())
    firsts = [maker(index, life).reset() for index in range(COUNT) for life in range(3)]
    assert len(np.unique(firsts, axis=0)) == len(firsts)


def test_executors_truncate_as_configured() -> None:
    values = {"env_kwargs": '{"max_episode_steps": 150}', "truncate_stuck": 110}
    executor = factory.ExecutorMaker(dataclasses.replace(config(), **values), SEEDS)(1)
    executor.reset()
    still = np.zeros(2, np.float32)
    ended = [executor.step(still, still).episode for _ in range(120)]
    assert [step for step, episode in enumerate(ended, start=1) if episode] == [110]


@pytest.mark.parametrize(("workers", "expected"), [(0, min(COUNT, cores())), (2, 2)])
def test_engines(workers: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = factory.make(config(), SEEDS)
    assert isinstance(inside, InProcess)
    pool = factory.make(config(engine="process", workers=workers), SEEDS)
    try:
        assert isinstance(pool, WorkerPool)
        assert len(pool._workers) == expected
        assert pool.spec == inside.spec
        np.testing.assert_array_equal(pool.reset(), inside.reset())
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("executors", "message"),
    [
        ({"workers": 1}, r"--executors.workers=1: must be 0 with --executors.engine=inproc; for more add"),
        ({"engine": "process", "workers": 4}, r"--executors.workers=4: must be at most --executors.count=3"),
        ({"engine": "proces"}, "did you mean process"),
    ],
)
def test_what_does_not_go_together(executors: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(config(**executors))
    assert validate(dataclasses.replace(config(engine="process", workers=3)))


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (("env", "reward_forwad"), "--layer-rewards: reward_forwad on lsp/RllabAnt-v0: .* did you mean reward_forward"),
        (("no_such:thing",), "cannot import no_such:thing"),
        (("reward_forward", "math:dist"), "math:dist raised TypeError"),
    ],
)
def test_rewards_are_tried_out(rewards: tuple[str, ...], message: str) -> None:
    with closing(envs.make_env(Config())) as env:
        with pytest.raises(ConfigError, match=message):
            factory.check_rewards(Config(layer_rewards=rewards), env)
        factory.check_rewards(Config(layer_rewards=("env", "reward_forward-2*reward_ctrl")), env)
    untouched: Any = None
    factory.check_rewards(Config(layer_rewards=("env",)), untouched)


def test_the_first_executor_takes_the_environment_that_is_there() -> None:
    """And is the executor that it would have been."""
    env = envs.make_env(config())
    env.reset(seed=99)
    env.step(np.ones(2))
    given, made = factory.make(config(), SEEDS, first=env), factory.make(config(), SEEDS)
    assert isinstance(given, InProcess)
    assert [executor.env is env for executor in given._executors] == [True, False, False]
    np.testing.assert_array_equal(given.reset(), made.reset())
    actions = ActionSample(np.ones((COUNT, 2), np.float32), np.ones((COUNT, 2), np.float32))
    np.testing.assert_array_equal(given.step(actions).packed, made.step(actions).packed)


def test_executors_have_the_reward_of_the_layer_in_training() -> None:
    two = dataclasses.replace(config(), layer_rewards=("env", "2*env"))
    ours, double = (factory.make(two, SEEDS, stage=stage) for stage in (0, 1))
    for executors in (ours, double):
        executors.reset()
    actions = ActionSample(*np.full((2, COUNT, 2), 0.5, np.float32))
    np.testing.assert_allclose(double.step(actions).returns, 2 * ours.step(actions).returns)
