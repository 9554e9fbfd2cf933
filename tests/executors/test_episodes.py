"""The books of an episode, against plain sums."""

import json
import math

import numpy as np
import pytest

from lsp.executors.episodes import EpisodeMeter, summarize
from lsp.types import Episode


def test_meter_equals_plain_sums(rng: np.random.Generator) -> None:
    meter = EpisodeMeter()
    for length, terminated in ((1, True), (9, False), (4, True)):  # each begins from nothing
        rewards, speeds = rng.normal(size=(2, length)).tolist()
        for reward, speed in zip(rewards, speeds, strict=True):
            meter.add(reward, {"speed": speed, "cost": np.float32(0.5)})
        episode = meter.finish(terminated)
        assert episode.episode_return == pytest.approx(sum(rewards), rel=1e-12)
        assert (episode.length, episode.terminated) == (length, terminated)
        assert episode.info == {"speed": pytest.approx(sum(speeds) / length, rel=1e-12), "cost": 0.5}


def test_only_floats_are_counted() -> None:
    meter = EpisodeMeter()
    meter.add(1.0, {"speed": 3.0, "lap": 2, "won": True, "name": "x", "pose": np.ones(2), "episode": {"r": 1.0}})
    assert meter.finish(False).info == {"speed": 3.0}


def test_a_term_that_comes_once_counts_for_the_whole_episode() -> None:
    meter = EpisodeMeter()
    for info in ({}, {}, {}, {"success": 1.0}):
        meter.add(0.0, info)
    assert meter.finish(True).info == {"success": 0.25}


def test_success_is_that_of_the_last_step() -> None:
    meter = EpisodeMeter()
    for met in (0.0, np.bool_(True), False):
        meter.add(0.0, {"is_success": met})
    second = EpisodeMeter()
    second.set_state(json.loads(json.dumps(meter.get_state())))
    second.add(0.0, {"is_success": np.float32(1.0)})
    for one, success in ((meter, 0.0), (second, 1.0)):
        episode = one.finish(False)
        assert (episode.success, episode.info) == (success, {})
        one.add(0.0, {})
        assert one.finish(False).success is None
    episodes = [Episode(0.0, 1, False, {}, success) for success in (1.0, 0.0, 1.0, None)]
    assert summarize(episodes)["success"] == pytest.approx(2 / 3)


def test_meter_goes_on_exactly(rng: np.random.Generator) -> None:
    """Through JSON, in the middle of an episode; float32 terms are summed in float64 on either side."""
    rewards, terms = rng.normal(size=20).tolist(), rng.normal(size=20).astype(np.float32)
    straight, first, second = EpisodeMeter(), EpisodeMeter(), EpisodeMeter()
    for step, (reward, term) in enumerate(zip(rewards, terms, strict=True)):
        straight.add(reward, {"term": term})
        if step == 7:
            second.set_state(json.loads(json.dumps(first.get_state())))
        (first if step < 7 else second).add(reward, {"term": term})
    state = second.get_state()
    assert second.finish(False) == straight.finish(False)
    assert state[1] == 20, "a state that was taken must not change any more"


def test_summary_is_of_means() -> None:
    episodes = [
        Episode(1.0, 10, True, {"speed": 1.0, "cost": 4.0}),
        Episode(3.0, 20, False, {"speed": 2.0}),
        Episode(8.0, 60, False, {"speed": 6.0, "cost": 4.0}),
    ]
    summary = summarize(episodes)
    assert math.isnan(summary.pop("info/cost"))  # a mean over some of the episodes would pass for one over all
    assert summary == {"return": 4.0, "length": 30.0, "terminated": pytest.approx(1 / 3), "info/speed": 3.0}
    assert all(type(value) is float for value in summary.values())


def test_summary_of_nothing() -> None:
    assert summarize([]) == {}


def test_return_of_a_layer_s_own_reward() -> None:
    """Of whole episodes rewarded in one way; the return stays the environment's."""
    meter = EpisodeMeter()
    meter.add(1.0, {}, 10.0)
    second = EpisodeMeter()
    second.set_state(json.loads(json.dumps(meter.get_state())))
    second.add(2.0, {}, 20.0)
    assert second.finish(False)[::5] == (3.0, 30.0)
    second.add(1.0, {})
    assert second.finish(False).layer_return is None
    second.add(1.0, {}, 1.0)
    second.forget_layer_return()
    second.add(1.0, {}, 1.0)
    assert second.finish(False)[::5] == (2.0, None)
    episodes = [Episode(0.0, 1, False, {}, None, value) for value in (1.0, None, 4.0)]
    assert summarize(episodes)["layer_return"] == 2.5
    assert "layer_return" not in summarize(episodes[1:2])
