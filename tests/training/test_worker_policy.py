"""A worker's policy is the learner's: at equal parameters it acts and ranks alike."""

import os
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from lsp import agents, packing
from lsp.agents import stack
from lsp.training.device import Stream, act, stream_key
from lsp.training.worker_policy import JaxPolicy, make_policy
from tests.support.builders import SPEC, make_batch, tiny_config
from tests.support.layers import make_layer

CONFIG = tiny_config(**{"replay.kind": "prioritized", "replay.initial": "td", "executors.count": 6})
ROWS = packing.pack(make_batch(np.random.default_rng(0), 40).transitions)
OBSERVATIONS = np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def learner() -> tuple[Any, Any]:
    agent = agents.build(CONFIG, SPEC).agent
    return agent, jax.jit(lambda key: agent.actor_params(agent.init(key)))(jax.random.key(3))


def loaded(config: Any, params: Any, part: range = range(3), incarnation: int = 0) -> JaxPolicy:
    actor = JaxPolicy(agents.build(config, SPEC), config, SPEC, part, incarnation)
    actor.load([np.asarray(leaf) for leaf in jax.tree.leaves(params)])
    return actor


def test_priorities_are_the_learners(learner: tuple[Any, Any]) -> None:
    agent, params = learner
    actor = loaded(CONFIG, params)
    key = stream_key(actor._root, Stream.PRIORITIZE, 5)
    expected = jax.jit(agent.priority)(params, packing.Layout.of(SPEC).unpack(ROWS), key)
    ranks = actor.rank(ROWS, 5)
    np.testing.assert_allclose(ranks, expected, rtol=1e-4)
    assert np.ptp(ranks) > 0.1


def test_actions_are_the_policys(learner: tuple[Any, Any]) -> None:
    agent, params = learner
    actor = loaded(CONFIG, params)
    for step, random in ((0, True), (0, False), (7, False)):
        arguments = (params, actor._root, np.int32(step), OBSERVATIONS, np.bool_(random))
        expected = jax.jit(partial(act, agent))(*arguments)
        np.testing.assert_allclose(np.concatenate(actor.act(OBSERVATIONS, step, random), axis=1), expected, rtol=1e-5)


def test_nobody_acts_as_another_did(learner: tuple[Any, Any]) -> None:
    _, params = learner
    lives = [loaded(CONFIG, params, part, life) for part in (range(3), range(3, 6)) for life in (0, 1)]
    actions = [actor.act(OBSERVATIONS, step, False).layer_action for actor in lives for step in (0, 1)]
    assert len(np.unique(np.round(actions, 5), axis=0)) == len(actions) == 8


def test_nothing_is_ranked_for_a_replay_that_would_not_look(learner: tuple[Any, Any]) -> None:
    actor = loaded(tiny_config(**{"executors.count": 6}), learner[1])
    np.testing.assert_array_equal(actor.rank(ROWS, 0), np.zeros(len(ROWS)))


def test_make_policy_confines_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPROC", "")
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=b")
    assert isinstance(make_policy(CONFIG, 0, (), SPEC, range(2), 0), JaxPolicy)
    assert os.environ["NPROC"] == "1"
    assert os.environ["XLA_FLAGS"] == "--xla_a=b --xla_cpu_multi_thread_eigen=false"


def test_actors_of_a_layer_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """Built from descriptions, whose frozen values come with the parameters."""
    monkeypatch.setenv("NPROC", "")
    monkeypatch.setenv("XLA_FLAGS", "")
    layers = (make_layer(0), make_layer(1))
    agent = agents.build(CONFIG, SPEC, layers, 1).agent
    params = jax.jit(lambda key: agent.actor_params(agent.init(key)))(jax.random.key(3))
    actor = make_policy(CONFIG, 1, [stack.describe(layer) for layer in layers], SPEC, range(3), 0)
    actor.load([np.asarray(leaf) for leaf in jax.tree.leaves(params)])
    expected = jax.jit(partial(act, agent))(params, actor._root, np.int32(2), OBSERVATIONS, np.bool_(False))
    found = np.concatenate(actor.act(OBSERVATIONS, 2, False), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
