"""N steps, put aside, N more equals 2N: bit for bit, on the device and on the host, through a checkpoint on disk."""

import dataclasses
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from lsp.storage import checkpoint
from lsp.training.device import RunState
from lsp.types import Recipe
from tests.support.loops import (
    Training,
    ant_recipe,
    device_state,
    make_loop,
    share_compilations,
    started,
    toy_config,
    toy_recipe,
)

STEPS, LINE = 40, 7  # a line of metrics every so many steps, most pauses between two of them


@pytest.fixture(autouse=True)
def _shared(monkeypatch: pytest.MonkeyPatch) -> None:
    share_compilations(monkeypatch)


def put_aside(loop: Training, recipe: Recipe, root: Path) -> None:
    state = jax.tree.map(np.asarray, loop.state)
    size = int(state.replay.size)
    arrays = {"learner": state.agent, "replay": recipe.replay.dump(state.replay, size)}
    checkpoint.save(root, loop.step, arrays, {"loop": loop.get_state(), "size": size})


def take_up(recipe: Recipe, path: Path) -> Training:
    loop = make_loop(recipe)
    arrays, host = checkpoint.load(path)
    shapes = jax.eval_shape(lambda: loop.state)
    dump = partial(recipe.replay.dump, size=host["size"])
    learner = checkpoint.restore(shapes.agent, arrays, "learner")
    replay = checkpoint.restore(jax.eval_shape(dump, shapes.replay), arrays, "replay")
    loop.set_state(host["loop"], RunState(learner, jax.jit(recipe.replay.load)(replay)))
    return loop


def check_exact(recipe: Recipe, pauses: tuple[int, ...], root: Path) -> None:
    uninterrupted = started(recipe)
    episodes, lines = [], []
    for steps in range(STEPS):
        if steps in pauses:
            put_aside(uninterrupted, recipe, root)
        episodes.append(uninterrupted.advance())
        lines += [uninterrupted.metrics()] if steps % LINE == 0 else []
    assert uninterrupted.updates > 0
    assert sum(map(len, episodes)) > 3
    last = uninterrupted.get_state(), uninterrupted.metrics()
    assert last[1] != {}
    for pause in pauses:
        resumed = take_up(recipe, root / str(pause * recipe.config.executors.count))
        for steps in range(pause, STEPS):
            assert resumed.advance() == episodes[steps]
            if steps % LINE == 0:
                assert resumed.metrics() == lines[steps // LINE]
        np.testing.assert_equal(device_state(resumed), device_state(uninterrupted))
        np.testing.assert_equal((resumed.get_state(), resumed.metrics()), last)


@pytest.mark.parametrize(
    ("block", "n_step", "utd", "count"),
    [(1, 1, 0.5, 3), (1, 3, 2.0, 1), (4, 1, 2.0, 1), (4, 3, 0.5, 1), (4, 3, 2.0, 3)],  # every pair of values
)
def test_goes_on_exactly(block: int, n_step: int, utd: float, count: int, tmp_path: Path) -> None:
    config = toy_config(env="lsp/RllabAnt-v0", block=block, n_step=n_step, utd=utd, count=count)
    check_exact(toy_recipe(config), (1, 4, 22, 35), tmp_path)


def test_the_real_agent_goes_on_exactly(tmp_path: Path) -> None:
    check_exact(ant_recipe(), (2, 31), tmp_path)


def test_what_was_taken_does_not_move_on() -> None:
    recipe = toy_recipe(toy_config(block=4, n_step=3, count=2))
    loop, twin = started(recipe), started(recipe)
    for _ in range(17):
        loop.advance()
        twin.advance()
    taken, expected = loop.get_state(), twin.get_state()
    for _ in range(9):
        loop.advance()
    np.testing.assert_equal(taken, expected)


def test_resuming_under_another_seed_does_not_repeat_the_first_run(tmp_path: Path) -> None:
    """The root key is the configuration's, so that a resumed run must keep its seed to go on exactly."""
    recipe = toy_recipe(toy_config())
    loop = started(recipe)
    put_aside(loop, recipe, tmp_path)
    other = take_up(recipe._replace(config=dataclasses.replace(recipe.config, seed=5)), tmp_path / "0")
    for _ in range(20):
        loop.advance()
        other.advance()
    assert not np.array_equal(loop.state.replay.rows, other.state.replay.rows)
