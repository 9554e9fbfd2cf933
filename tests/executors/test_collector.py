"""A collector's rows are those that its executors would yield under the same actions."""

import numpy as np

from lsp.executors.collector import Collector
from lsp.executors.inproc import InProcess
from lsp.types import ActionSample, Order
from tests.support.fleets import CHUNK, COUNT, MAKER, SPEC, NumpyActor

ORDER = Order([np.array([2.0])], 5, False)


def collector() -> Collector:
    return Collector(InProcess(MAKER, COUNT), NumpyActor(SPEC, range(COUNT), 0), CHUNK)


def test_rows_are_the_executors_own() -> None:
    ours, reference, actor = collector(), InProcess(MAKER, COUNT), NumpyActor(SPEC, range(COUNT), 0)
    np.testing.assert_array_equal(ours.reset(), reference.reset())
    hauls = [ours.collect(ORDER) for _ in range(3)]
    chunks = []
    for step in range(3 * CHUNK + MAKER.n_step - 1):
        action = actor.act(np.zeros((COUNT, 4)), step, False)
        chunks.append(reference.step(ActionSample(*action)))
    complete = [chunk for chunk in chunks if chunk.complete]
    for name in ("rows", "returns", "origins"):
        expected = np.concatenate([getattr(chunk, name) for chunk in complete])
        np.testing.assert_array_equal(np.concatenate([getattr(haul, name) for haul in hauls]), expected)
    assert [episode for haul in hauls for episode in haul.episodes] == [e for chunk in chunks for e in chunk.episodes]
    assert [haul.version for haul in hauls] == [5] * 3
    for haul in hauls:
        np.testing.assert_allclose(haul.priorities, 2 * np.abs(haul.rows[:, -6]))


def test_goes_on_with_its_state() -> None:
    ours, resumed = collector(), collector()
    ours.reset()
    ours.collect(ORDER)
    resumed.set_state(ours.get_state())
    np.testing.assert_equal(resumed.collect(ORDER)._asdict(), ours.collect(ORDER)._asdict())
