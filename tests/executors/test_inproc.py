"""Executors side by side do what each does alone."""

from pathlib import Path

import numpy as np
import pytest

from lsp import envs
from lsp.executors.executor import Executor
from lsp.executors.inproc import InProcess
from lsp.storage import checkpoint
from lsp.types import ActionSample, Chunk
from tests.support.environments import countdown

COUNT, LIMIT, STEPS, GAMMA = 3, 4, 14, 0.9
TASKS = ("lsp/PointMass-v0", "lsp/RllabAnt-v0")


def executor(name: str, index: int, n_step: int) -> Executor:
    """Executor `index`, whose episodes end at other times than its neighbors'."""
    return Executor(envs.make(name, max_episode_steps=LIMIT + index), 10 + index, GAMMA, n_step)


def group(name: str, n_step: int) -> InProcess:
    return InProcess(lambda index: executor(name, index, n_step), COUNT)


def actions(dim: int) -> list[ActionSample]:
    numbers = np.random.default_rng(1).uniform(-1, 1, (STEPS, COUNT, dim)).astype(np.float32)
    return [ActionSample(number, number + 10) for number in numbers]


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("name", TASKS)
def test_equals_executors_alone(name: str, n_step: int) -> None:
    together, alone = group(name, n_step), [executor(name, i, n_step) for i in range(COUNT)]
    assert together.spec == alone[0].spec
    np.testing.assert_array_equal(together.reset(), [each.reset() for each in alone], strict=True)
    width = 2 * together.spec.observation_dim + together.spec.action_dim + 2
    finished = 0
    for number, action in enumerate(actions(together.spec.action_dim), start=1):
        chunk = together.step(action)
        steps = [each.step(action.env_action[i], action.layer_action[i]) for i, each in enumerate(alone)]
        assert chunk.complete == (number >= n_step)
        if chunk.complete:
            assert chunk.packed.shape == (COUNT, width)
            np.testing.assert_array_equal(chunk.packed, [step.packed for step in steps], strict=True)
        else:
            assert chunk.packed.size == 0
        returns = np.array([step.discounted_return for step in steps], np.float32)
        np.testing.assert_array_equal(chunk.returns, returns, strict=True)
        np.testing.assert_array_equal(chunk.observations, [each.observation for each in alone], strict=True)
        assert list(chunk.episodes) == [step.episode for step in steps if step.episode is not None]
        finished += len(chunk.episodes)
    assert finished == sum(STEPS // (LIMIT + i) for i in range(COUNT))


def test_seeds_tell_executors_apart() -> None:
    observations = group("lsp/PointMass-v0", 1).reset()
    assert len(np.unique(observations, axis=0)) == COUNT


def test_rows_are_complete_together_however_short_the_episodes() -> None:
    """Shapes never change, not even where some episodes end within the first n-1 steps and others do not."""
    n_step = 5
    together = group("lsp/PointMass-v0", n_step)
    together.reset()
    shapes = [together.step(action).packed.shape for action in actions(2)]
    assert shapes == [(0,)] * (n_step - 1) + [(COUNT, 12)] * (STEPS - n_step + 1)


def test_arrays_are_the_takers_own() -> None:
    """JAX reads a NumPy argument later than the call returns, so nothing handed out may change."""
    together = group("lsp/PointMass-v0", 3)
    kept, copies = [together.reset()], []
    copies.append(kept[0].copy())
    for action in actions(2):
        chunk = together.step(action)
        kept += [chunk.packed, chunk.returns, chunk.observations]
        copies += [array.copy() for array in kept[-3:]]
    np.testing.assert_equal(kept, copies)


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("pause", [1, LIMIT, 9])
def test_goes_on_exactly(name: str, n_step: int, pause: int, tmp_path: Path) -> None:
    first, second = group(name, n_step), group(name, n_step)
    steps = actions(first.spec.action_dim)
    first.reset()
    for action in steps[:pause]:
        first.step(action)
    saved = checkpoint.save(tmp_path, pause, {}, first.get_state())
    second.set_state(checkpoint.load(saved)[1])
    for action in steps[pause:]:
        np.testing.assert_equal(first.step(action), second.step(action))


def test_another_number_of_executors() -> None:
    state = group("lsp/PointMass-v0", 1).get_state()
    with pytest.raises(ValueError, match="zip"):
        InProcess(lambda index: executor("lsp/PointMass-v0", index, 1), COUNT + 1).set_state(state)


def step_until_fault(together: InProcess) -> list[Chunk]:
    together.reset()
    return [together.step(ActionSample(np.zeros((2, 1)), np.zeros((2, 1)))) for _ in range(3)]


def test_a_fault_in_one_environment() -> None:
    together = InProcess(lambda index: countdown(fails_at=2 + index), 2)
    with pytest.raises(envs.EnvironmentFault, match="countdown raised ArithmeticError: no more at step 2"):
        step_until_fault(together)


def test_close_closes_every_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(envs.BoxEnv, "close", lambda env: closed.append(env))
    together = group("lsp/PointMass-v0", 1)
    together.close()
    assert len(closed) == len(set(map(id, closed))) == COUNT
