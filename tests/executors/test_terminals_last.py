"""The study's queue against a heap that serves the smallest key first, as TensorFlow's does."""

import dataclasses
import heapq
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.config import Config, ConfigError, ExecutorsConfig, validate
from lsp.executors.factory import make
from lsp.executors.inproc import InProcess
from lsp.executors.terminals_last import TerminalsLast
from lsp.storage import checkpoint
from lsp.types import ActionSample, Chunk
from tests.support.environments import countdown
from tests.support.loops import device_state, make_loop, share_compilations, toy_config, toy_recipe

COUNT, LENGTH = 3, 21
ACTION = ActionSample(*np.zeros((2, COUNT, 1), np.float32))


def executors() -> InProcess:
    """Every odd episode ends by a termination at its third step, every even one by a time limit at its fifth."""
    return InProcess(lambda i: countdown(seed=i), COUNT)


def queued() -> TerminalsLast:
    return TerminalsLast(executors(), LENGTH)


def terminal(chunk: Chunk) -> list[bool]:
    return [bool(row[-2] == 0) for row in chunk.packed]


def test_serves_as_a_heap_would() -> None:
    ours, bare = queued(), executors()
    np.testing.assert_array_equal(ours.reset(), bare.reset())
    heap: list[Any] = []
    ends: list[bool] = []
    for step in range(200):
        chunk, raw = ours.step(ACTION), bare.step(ACTION)
        np.testing.assert_array_equal(chunk.observations, raw.observations)
        assert chunk.episodes == raw.episodes
        for i, ended in enumerate(terminal(raw)):
            heapq.heappush(heap, (ended, step, i, raw.packed[i], raw.returns[i], raw.origins[i]))
        assert chunk.complete == (len(heap) >= LENGTH + COUNT)
        assert len(chunk.packed) == COUNT * chunk.complete
        expected = [heapq.heappop(heap)[3:] for _ in chunk.packed]
        for found, wanted in zip(zip(chunk.packed, chunk.returns, chunk.origins, strict=False), expected, strict=False):
            np.testing.assert_equal(found, wanted)
        ends += terminal(chunk)
        assert ours.stats() == {"terminals_queued": sum(entry[0] for entry in heap)}
    assert len(heap) == LENGTH
    # Of eight rows one is terminal: none is served before they fill the queue, and then all of those that come.
    first = ends.index(True)
    assert LENGTH * 8 - 5 * LENGTH < first < LENGTH * 8
    assert np.mean(ends[first:]) == pytest.approx(1 / 8, abs=0.02)


@pytest.mark.parametrize("pause", [0, 3, 30])
def test_goes_on_with_its_state(pause: int, tmp_path: Path) -> None:
    first, second = queued(), queued()
    first.reset()
    for _ in range(pause):
        first.step(ACTION)
    _, host = checkpoint.load(checkpoint.save(tmp_path, 1, {}, {"executors": first.get_state()}))
    second.set_state(host["executors"])
    assert second.stats() == first.stats()
    np.testing.assert_equal(second.get_state()["queue"], first.get_state()["queue"])
    if pause == 30:  # the environments, which cannot be restored, go on otherwise: what is served is older
        np.testing.assert_equal(second.step(ACTION).packed, first.step(ACTION).packed)


def test_only_where_it_is_asked_for() -> None:
    config = Config(env="lsp/PointMass-v0", n_step=1, executors=ExecutorsConfig(count=2))
    assert isinstance(make(config, (0, 1)), InProcess)
    fields = {"queue": "as-coded", "engine": "process", "count": 2}
    chosen = dataclasses.replace(config, executors=ExecutorsConfig(**fields), learning_starts=10_000)
    assert validate(chosen)
    for changes, message in (
        ({"executors": ExecutorsConfig(**fields, mode="async")}, "--executors.queue=as-coded: must be none with"),
        ({"layers": 2, "layer_steps": (100, 100), "steps": 200}, "--executors.queue=as-coded: must be none with"),
        ({"learning_starts": 5_000}, "--learning-starts=5000: must be at least 5"),
    ):
        with pytest.raises(ConfigError, match=message):
            validate(dataclasses.replace(chosen, **changes))


@pytest.mark.parametrize("pause", [5, 20])
def test_a_loop_goes_on_exactly(pause: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From while the queue fills, and from later."""
    share_compilations(monkeypatch)
    recipe = toy_recipe(toy_config(count=COUNT, learning_starts=40))
    straight, resumed = make_loop(recipe), make_loop(recipe)
    for loop in (straight, resumed):
        loop.executors = TerminalsLast(loop.executors, LENGTH)
    straight.start()
    for _ in range(pause):
        straight.advance()
    state = jax.tree.map(jnp.array, straight.state)
    resumed.set_state(straight.get_state(), state)
    for _ in range(40):
        assert resumed.advance() == straight.advance()
    np.testing.assert_equal(device_state(resumed), device_state(straight))
    np.testing.assert_equal(resumed.get_state(), straight.get_state())
    assert straight.updates > 50
