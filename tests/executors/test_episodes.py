"""The books of an episode, against plain sums."""

import json
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from lsp.executors.episodes import EpisodeMeter, record_of, summarize
from lsp.types import Episode

SEEN = np.zeros(1)  # an observation


def test_meter_equals_plain_sums(rng: np.random.Generator) -> None:
    meter = EpisodeMeter()
    for length, terminated in ((1, True), (9, False), (4, True)):  # each begins from nothing
        rewards, speeds = rng.normal(size=(2, length)).tolist()
        for reward, speed in zip(rewards, speeds, strict=True):
            meter.add(reward, {"speed": speed, "cost": np.float32(0.5)}, SEEN)
        episode = meter.finish(terminated)
        assert episode.episode_return == pytest.approx(sum(rewards), rel=1e-12)
        assert (episode.length, episode.terminated) == (length, terminated)
        assert episode.info == {"speed": pytest.approx(sum(speeds) / length, rel=1e-12), "cost": 0.5}


def test_whatever_is_one_number_counts() -> None:
    meter = EpisodeMeter()
    numbers = {"float": 3.0, "int": 3, "bool": True, "fraction": Fraction(1, 4), "large": 2**70}
    numbers |= {"float32": np.float32(0.5), "int8": np.int8(-2), "bool_": np.bool_(True), "uint": np.uint64(2**63)}
    numbers |= {"0-d": np.array(2.5), "one": np.array([7]), "one by one": np.ones((1, 1), bool), "jax": jnp.ones(())}
    meter.add(1.0, numbers, SEEN)
    expected = {name: pytest.approx(float(value)) for name, value in numbers.items() if np.ndim(value) == 0}
    assert meter.finish(False).info == expected | {"one": 7.0, "one by one": 1.0}


class Odd:
    """Looks like an array of one, and is none."""

    shape = ()

    def __array__(self, *arguments: object, **options: object) -> np.ndarray:
        raise RuntimeError("elsewhere")


NOTHING = [None, "x", "3.0", b"3", np.str_("3.0"), [1.0], (1.0,), {"r": 1.0}, np.ones(2), np.ones(0), np.array("3")]
NOTHING += [np.nan, np.inf, -np.inf, np.float32("nan"), np.array(np.nan), 10**400, 1j, np.complex64(1), object(), Odd()]


@pytest.mark.parametrize("value", NOTHING, ids=lambda value: type(value).__name__)
def test_all_else_is_as_if_nothing_were_said(value: object) -> None:
    meter = EpisodeMeter()
    for said in (value, 4.0, value):
        meter.add(0.0, {"term": said, "is_success": said, "other": value}, SEEN)
    episode = meter.finish(False)
    assert (episode.info, episode.success) == ({"term": 4.0}, 4.0)


def test_names_that_are_not_text() -> None:
    """They are written as text, also after a checkpoint, which holds JSON."""
    meter, resumed = EpisodeMeter(), EpisodeMeter()
    info = {3: 1.0, ("a", 1): 2.0, None: 3.0, "x": 4.0}
    meter.add(0.0, info, SEEN)
    resumed.set_state(json.loads(json.dumps(meter.get_state())))
    for each in (meter, resumed):
        each.add(0.0, {3: 2.0}, SEEN)
        assert each.finish(False).info == {"3": 1.5, "('a', 1)": 2.0, "None": 3.0, "x": 4.0}


def test_a_term_counts_in_the_steps_that_say_it() -> None:
    meter = EpisodeMeter()
    for info in ({}, {"lap": 2.0}, {"speed": 1.0}, {"lap": 5.0, "speed": 0.0}):
        meter.add(0.0, info, SEEN)
    assert meter.finish(True).info == {"lap": 3.5, "speed": 0.5}


def test_success_is_what_the_episode_says_last() -> None:
    meter = EpisodeMeter()
    for met in (0.0, np.bool_(True), False):
        meter.add(0.0, {"is_success": met}, SEEN)
    second = EpisodeMeter()
    second.set_state(json.loads(json.dumps(meter.get_state())))
    second.add(0.0, {"is_success": np.float32(1.0)}, SEEN)
    for one, success in ((meter, 0.0), (second, 1.0)):
        episode = one.finish(False)
        assert (episode.success, episode.info) == (success, {})
        one.add(0.0, {}, SEEN)
        assert one.finish(False).success is None
    meter.add(0.0, {"is_success": np.array([True])}, SEEN)
    meter.add(0.0, {}, SEEN)
    assert meter.finish(False).success == 1.0


def test_another_name_of_success() -> None:
    """Meta-World's; the proper one goes first."""
    meter = EpisodeMeter()
    meter.add(0.0, {"success": 1.0}, SEEN)
    assert meter.finish(False)[3:5] == ({"success": 1.0}, 1.0)
    meter.add(0.0, {"success": 1.0, "is_success": 0.0}, SEEN)
    assert meter.finish(False)[3:5] == ({"success": 1.0}, 0.0)


@pytest.mark.parametrize(
    ("said", "says_success", "expected"),
    [
        ((1.0, 0.0, 1.0, 0.0), False, 0.5),
        ((None, None, 1.0, None), False, 0.25),  # whichever it is that says so
        ((1.0, None, None, None), False, 0.25),
        ((None, None, None, None), True, 0.0),  # an earlier episode did
        ((None, None, None, None), False, None),
        ((0.0, None, None, None), False, 0.0),
    ],
)
def test_share_of_successes(said: tuple[float | None, ...], says_success: bool, expected: float | None) -> None:
    episodes = [Episode(0.0, 1, False, {}, success) for success in said]
    assert summarize(episodes, says_success).get("success") == expected
    found = record_of(episodes, says_success).get("success")
    assert found == (None if expected is None else [success or 0.0 for success in said])


def test_a_record_says_which_episodes_said_nothing() -> None:
    episodes = [
        Episode(1.0, 10, True, {"speed": 1.0}),
        Episode(3.0, 20, False, {"speed": 2.0, "lap": 0.0}, 1.0),
    ]
    assert record_of(episodes) == {
        "return": 2.0,
        "returns": [1.0, 3.0],
        "lengths": [10, 20],
        "terminated": [True, False],
        "success": [0.0, 1.0],
        "info/speed": [1.0, 2.0],
        "info/lap": [None, 0.0],
    }


def test_meter_goes_on_exactly(rng: np.random.Generator) -> None:
    """Through JSON, in the middle of an episode; float32 terms are summed in float64 on either side."""
    rewards, terms = rng.normal(size=20).tolist(), rng.normal(size=20).astype(np.float32)
    straight, first, second = EpisodeMeter(), EpisodeMeter(), EpisodeMeter()
    for step, (reward, term) in enumerate(zip(rewards, terms, strict=True)):
        straight.add(reward, {"term": term}, SEEN)
        if step == 7:
            second.set_state(json.loads(json.dumps(first.get_state())))
        (first if step < 7 else second).add(reward, {"term": term}, SEEN)
    state = second.get_state()
    assert second.finish(False) == straight.finish(False)
    assert state[1] == 20, "a state that was taken must not change any more"


def test_summary_is_of_means() -> None:
    episodes = [
        Episode(1.0, 10, True, {"speed": 1.0, "cost": 4.0}),
        Episode(3.0, 20, False, {"speed": 2.0}),
        Episode(8.0, 60, False, {"speed": 6.0, "cost": 2.0, "lap": 7.0}),
    ]
    summary = summarize(episodes)
    means = {"info/speed": 3.0, "info/cost": 3.0, "info/lap": 7.0}  # over the episodes that have it
    assert summary == {"return": 4.0, "length": 30.0, "terminated": pytest.approx(1 / 3)} | means
    assert all(type(value) is float for value in summary.values())


def test_motionless_steps(rng: np.random.Generator) -> None:
    """A term of `info` that is a position goes first; through JSON in the middle of an episode."""
    meter = EpisodeMeter()
    for step in range(150):
        meter.add(0.0, {"x_position": np.float32(1.0), "y_position": 0.2 * max(0, step - 119)}, rng.normal(size=2))
        assert meter.still_steps == (step + 1 if step < 121 else (step - 121) % 2 + 1)
        state = json.loads(json.dumps(meter.get_state()))
        meter = EpisodeMeter()
        meter.set_state(state)
    assert meter.finish(False)[6:] == (121 / 150, None)
    for _ in range(100):
        meter.add(0.0, {"x_position": None}, SEEN)
    assert meter.finish(False, stuck=True)[6:] == (1.0, True)


def test_a_state_of_an_earlier_version_has_no_stillness() -> None:
    meter = EpisodeMeter()
    meter.set_state([3.0, 2, {"speed": [4.0, 2]}, None, None])
    meter.add(1.0, {"speed": 5.0}, SEEN)
    assert meter.finish(True) == Episode(4.0, 3, True, {"speed": 3.0}, None, None, 0.0, None)


def test_motionless_steps_of_several_episodes() -> None:
    """A share of all steps in a line of metrics; that of each in a record; absent where nobody knows."""
    episodes = [
        Episode(0.0, 900, False, {}, motionless=1.0),
        Episode(0.0, 100, False, {}, motionless=0.0),
        Episode(0.0, 5000, False, {}),  # of a checkpoint of an earlier version
    ]
    assert summarize(episodes)["motionless"] == 0.9
    assert record_of(episodes)["motionless"] == [1.0, 0.0, None]
    assert "motionless" not in {**summarize(episodes[2:]), **record_of(episodes[2:])}


def test_stuck_episodes_are_counted_where_they_are_truncated() -> None:
    ends = [Episode(0.0, 9, False, {}, stuck=stuck) for stuck in (True, False, True, None)]
    assert summarize(ends)["stuck"] == 2.0
    assert summarize(ends[1:2])["stuck"] == 0.0
    assert "stuck" not in summarize(ends[3:])


def test_summary_of_nothing() -> None:
    assert summarize([]) == {}


def test_return_of_a_layer_s_own_reward() -> None:
    """Of whole episodes rewarded in one way; the return stays the environment's."""
    meter = EpisodeMeter()
    meter.add(1.0, {}, SEEN, 10.0)
    second = EpisodeMeter()
    second.set_state(json.loads(json.dumps(meter.get_state())))
    second.add(2.0, {}, SEEN, 20.0)
    assert second.finish(False)[::5] == (3.0, 30.0)
    second.add(1.0, {}, SEEN)
    assert second.finish(False).layer_return is None
    second.add(1.0, {}, SEEN, 1.0)
    second.forget_layer_return()
    second.add(1.0, {}, SEEN, 1.0)
    assert second.finish(False)[::5] == (2.0, None)
    episodes = [Episode(0.0, 1, False, {}, None, value) for value in (1.0, None, 4.0)]
    assert summarize(episodes)["layer_return"] == 2.5
    assert "layer_return" not in summarize(episodes[1:2])
