"""An executor's rows and books against the bare environment's own account."""

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from lsp import envs
from lsp.executors.executor import Executor, StepResult
from lsp.packing import Layout
from lsp.storage import checkpoint
from tests.support import reference
from tests.support.environments import GAMMA, Countdown, countdown

LIMIT = 6
TASKS = ("lsp/PointMass-v0", "lsp/RllabAnt-v0")


def task(name: str, seed: int = 0, n_step: int = 1, limit: int = LIMIT) -> Executor:
    return Executor(envs.make(name, max_episode_steps=limit), seed, GAMMA, n_step)


def actions(dim: int, count: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, dim)).astype(np.float32)


def run(executor: Executor, steps: np.ndarray) -> list[StepResult]:
    """Layer actions are the environment's actions plus 10, so that a mix-up shows."""
    return [executor.step(action, action + 10) for action in steps]


def bare_steps(env: gymnasium.Env, seed: int, steps: np.ndarray) -> list[reference.Step]:
    record, (observation, _) = [], env.reset(seed=seed)
    for action in steps:
        successor, reward, terminated, truncated, _ = env.step(action)
        record.append(reference.Step(observation, action + 10, float(reward), successor, terminated, truncated))
        observation = env.reset()[0] if terminated or truncated else successor
    return record


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("name", [*TASKS, "countdown"])
def test_rows_are_what_the_bare_environment_did(name: str, n_step: int) -> None:
    if name == "countdown":
        executor, bare = countdown(n_step), Countdown()
    else:
        executor, bare = task(name, 3, n_step), gymnasium.make(name, max_episode_steps=LIMIT)
    chosen = actions(executor.spec.action_dim, 4 * LIMIT)
    first = executor.reset()
    twin = reference.n_step_transitions(bare_steps(bare, 3, chosen), n_step, GAMMA)
    np.testing.assert_array_equal(first, twin[0].observation.astype(np.float32))
    steps = run(executor, chosen)
    assert [step.packed is None for step in steps] == [True] * (n_step - 1) + [False] * len(twin)
    for step, expected in zip(steps[n_step - 1 :], twin, strict=True):
        row = Layout.of(executor.spec).unpack(step.packed)
        np.testing.assert_array_equal(row.observation, expected.observation.astype(np.float32))
        np.testing.assert_array_equal(row.action, expected.action)
        np.testing.assert_array_equal(row.next_observation, expected.next_observation.astype(np.float32))
        np.testing.assert_allclose([row.reward, row.discount], [expected.reward, expected.discount], 1e-5, 1e-6)


@pytest.mark.parametrize("n_step", [1, 3])
def test_rows_of_a_task_with_goals(n_step: int) -> None:
    """Each has the goal that its own step achieved, and that step's number, also where returns are of several."""
    executor, bare = task("lsp/Reacher2D-v0", 3, n_step), envs.make("lsp/Reacher2D-v0", max_episode_steps=LIMIT)
    chosen, expected = actions(2, 3 * LIMIT), []
    executor.reset()
    bare.reset(seed=3)
    for number, action in enumerate(chosen):
        bare.step(action)
        expected.append([*bare.outcome[:2], number % LIMIT, 0.0])
        if number % LIMIT == LIMIT - 1:
            bare.reset()
    found = [Layout.of(executor.spec).unpack(step.packed) for step in run(executor, chosen) if step.packed is not None]
    assert len(found) == 3 * LIMIT - n_step + 1
    for row, outcome, action in zip(found, expected, chosen, strict=False):
        np.testing.assert_allclose(row.outcome, outcome, rtol=1e-6)
        np.testing.assert_array_equal(row.action, action + 10)


@pytest.mark.parametrize("name", TASKS)
def test_a_time_limit_is_no_termination(name: str) -> None:
    executor = task(name)
    executor.reset()
    *_, last = run(executor, actions(executor.spec.action_dim, LIMIT))
    row = Layout.of(executor.spec).unpack(last.packed)
    assert row.discount == np.float32(GAMMA)
    assert not last.episode.terminated
    assert not np.array_equal(row.next_observation, executor.observation)  # the next episode's first


def test_a_termination() -> None:
    executor = countdown()
    executor.reset()
    steps = run(executor, actions(1, 9))
    found = [Layout.of(executor.spec).unpack(step.packed) for step in steps]
    assert [row.discount == 0 for row in found] == [False] * 2 + [True] + [False] * 6
    # Episode 1 ends at its third step by termination, episode 2 at its fifth by a time limit.
    assert [int(row.next_observation[0]) for row in found] == [101, 102, 103, 201, 202, 203, 204, 205, 301]
    assert [int(row.observation[0]) for row in found] == [100, 101, 102, 200, 201, 202, 203, 204, 300]
    assert [step.episode and (step.episode.length, step.episode.terminated) for step in steps] == [
        *[None] * 2, (3, True), *[None] * 4, (5, False), None,
    ]  # fmt: skip


def test_books_of_an_episode() -> None:
    executor = task("lsp/RllabAnt-v0")
    chosen = actions(8, 2 * LIMIT)
    executor.reset()
    steps = run(executor, chosen)
    bare, account = gymnasium.make("lsp/RllabAnt-v0", max_episode_steps=LIMIT), []
    for episode in (chosen[:LIMIT], chosen[LIMIT:]):
        bare.reset(seed=None if account else 0)
        account += [(reward, info) for _, reward, _, _, info in map(bare.step, episode)]
    for start, ended in ((0, steps[LIMIT - 1]), (LIMIT, steps[-1])):
        rewards = [reward for reward, _ in account[start : start + LIMIT]]
        infos = [info for _, info in account[start : start + LIMIT]]
        assert ended.episode.length == LIMIT
        assert ended.episode.episode_return == pytest.approx(sum(rewards))
        means = {name: np.mean([info[name] for info in infos]) for name in infos[0]}
        assert ended.episode.info == pytest.approx(means)
        discounted = [sum(GAMMA ** (t - k) * rewards[k] for k in range(t + 1)) for t in range(LIMIT)]
        assert [step.discounted_return for step in steps[start : start + LIMIT]] == pytest.approx(discounted)


def test_only_numbers_of_info_are_averaged() -> None:
    executor = countdown()
    executor.reset()
    assert run(executor, actions(1, 3))[-1].episode.info == {"steps": 2.0, "count": 2.0}


def through_a_checkpoint(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    return checkpoint.load(checkpoint.save(folder, 1, {}, state))[1]


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("pause", [0, 2, LIMIT - 1, LIMIT, LIMIT + 1])
def test_goes_on_exactly(name: str, n_step: int, pause: int, tmp_path: Path) -> None:
    first, second = (task(name, seed, n_step) for seed in (5, 99))
    chosen = actions(first.spec.action_dim, 3 * LIMIT)
    first.reset()
    run(first, chosen[:pause])
    taken = first.get_state()
    state = through_a_checkpoint(taken, tmp_path)
    uninterrupted = run(first, chosen[pause:])
    np.testing.assert_equal(through_a_checkpoint(taken, tmp_path), state)  # what was taken does not move on
    second.set_state(state)
    np.testing.assert_equal(run(second, chosen[pause:]), uninterrupted)
    np.testing.assert_equal(first.observation, second.observation)


def test_an_environment_that_cannot_be_restored_begins_an_episode(tmp_path: Path) -> None:
    n_step, whole = 3, 50
    first = countdown(n_step, seed=7)
    first.reset()
    before = run(first, actions(1, 4))  # three steps of episode 1, one of episode 2
    state = through_a_checkpoint(first.get_state(), tmp_path)
    second = countdown(n_step, seed=7)
    second.set_state(state)
    after = run(second, actions(1, whole))
    found = [Layout.of(first.spec).unpack(step.packed) for step in [*before, *after] if step.packed is not None]
    assert len(found) == 4 + whole - (n_step - 1)  # not one row is lost
    for row in found:  # nor does any reach from one episode into another
        assert row.observation // 100 == row.next_observation // 100
    assert after[2].episode.length == 3
    assert after[2].discounted_return == pytest.approx(1 + GAMMA + GAMMA**2)


def test_seeds_of_an_environment_that_cannot_be_restored() -> None:
    """Neither the first episodes come back, nor a neighbor's."""

    def resumed_seed(seed: int, steps: int) -> int | None:
        first, second = countdown(seed=seed), countdown(seed=seed)
        first.reset()
        run(first, actions(1, steps))
        second.set_state(first.get_state())
        return second.env.unwrapped.seed

    used = [resumed_seed(seed, steps) for seed in range(4) for steps in (0, 1, 4)]
    assert len({*used, *range(5)}) == len(used) + 5
    assert resumed_seed(2, 4) == resumed_seed(2, 4)


def test_one_seed_one_stream() -> None:
    left, right, other = (task("lsp/PointMass-v0", seed) for seed in (1, 1, 2))
    np.testing.assert_equal(left.reset(), right.reset())
    assert not np.array_equal(left.observation, other.reset())
    np.testing.assert_equal(run(left, actions(2, 20)), run(right, actions(2, 20)))


def test_an_environment_that_raises() -> None:
    executor = countdown(fails_at=2)
    executor.reset()
    with pytest.raises(envs.EnvironmentFault, match="countdown raised ArithmeticError: no more at step 2"):
        run(executor, actions(1, 2))


def standing(n_step: int = 1, limit: int = 1000, name: str = "lsp/RllabAnt-v0", truncate_stuck: int = 100) -> Executor:
    env = envs.make(name, max_episode_steps=limit)
    return Executor(env, 3, GAMMA, n_step, truncate_stuck=truncate_stuck)


@pytest.mark.parametrize("n_step", [1, 3])
def test_a_body_that_does_not_move_is_truncated_as_by_a_time_limit(n_step: int) -> None:
    stuck, limited = standing(n_step), standing(n_step, limit=100, truncate_stuck=0)
    np.testing.assert_array_equal(stuck.reset(), limited.reset())
    still = np.zeros((250, 8), np.float32)
    ours, theirs = run(stuck, still), run(limited, still)
    assert [step.episode is not None for step in ours] == [step % 100 == 99 for step in range(250)]
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_equal(mine[:2], other[:2])
        if mine.episode is not None:
            assert mine.episode == other.episode._replace(stuck=True)
            assert (mine.episode.terminated, mine.episode.motionless, other.episode.stuck) == (False, 1.0, None)
    np.testing.assert_array_equal(stuck.observation, limited.observation)


@pytest.mark.parametrize(("force", "lengths"), [(0.0, [120, 120]), (1.0, [300])])
def test_without_a_position_it_goes_by_the_observation(force: float, lengths: list[int]) -> None:
    executor = standing(limit=300, name="lsp/PointMass-v0", truncate_stuck=120)
    executor.reset()
    ended = [step.episode for step in run(executor, np.full((300, 2), force, np.float32)) if step.episode]
    assert [episode.length for episode in ended] == lengths
    assert {episode.stuck for episode in ended} == {force == 0}


def test_an_end_of_its_own_is_not_for_standing() -> None:
    executor = standing(limit=100)
    executor.reset()
    last = run(executor, np.zeros((100, 8), np.float32))[-1].episode
    assert (last.length, last.stuck, last.motionless) == (100, False, 1.0)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("pause", [1, 60, 99, 100, 130])
def test_stands_on_exactly(name: str, pause: int, tmp_path: Path) -> None:
    """Resumed in the middle of a stretch in one place."""
    first, second = standing(3, name=name), standing(3, name=name)
    still = np.zeros((220, first.spec.action_dim), np.float32)
    first.reset()
    run(first, still[:pause])
    second.set_state(through_a_checkpoint(first.get_state(), tmp_path))
    ours = run(second, still[pause:])
    np.testing.assert_equal(ours, run(first, still[pause:]))
    assert [pause + number for number, step in enumerate(ours) if step.episode][-1] == 199


def test_state_is_plain() -> None:
    """JSON and arrays of numbers, nothing else."""
    executor = task("lsp/RllabAnt-v0", n_step=3)
    executor.reset()
    run(executor, actions(8, 4))

    def plain(value: Any) -> Any:
        return value.tolist() if isinstance(value, np.ndarray) else value.item()

    json.dumps(executor.get_state(), default=plain)


@pytest.mark.parametrize("n_step", [1, 3])
def test_a_layer_s_own_reward(n_step: int) -> None:
    """Rows and discounted returns are of it, an episode's return stays the environment's."""
    text = "x_velocity-2*env"
    executor = Executor(envs.make("lsp/RllabAnt-v0", max_episode_steps=LIMIT), 3, GAMMA, n_step, text)
    bare, chosen = gymnasium.make("lsp/RllabAnt-v0", max_episode_steps=LIMIT), actions(8, LIMIT)
    executor.reset()
    bare.reset(seed=3)
    account = [bare.step(action) for action in chosen]
    own, raw = ([f(step) for step in account] for f in (lambda s: s[4]["x_velocity"] - 2 * s[1], lambda s: s[1]))
    steps = run(executor, chosen)
    discounted = [sum(GAMMA ** (t - k) * own[k] for k in range(t + 1)) for t in range(LIMIT)]
    assert [step.discounted_return for step in steps] == pytest.approx(discounted)
    first = Layout.of(executor.spec).unpack(steps[n_step - 1].packed)
    assert first.reward == pytest.approx(sum(GAMMA**k * own[k] for k in range(n_step)), rel=1e-5)
    assert steps[-1].episode.episode_return == pytest.approx(sum(raw))
    assert steps[-1].episode.layer_return == pytest.approx(sum(own))


@pytest.mark.parametrize("n_step", [1, 3])
def test_another_reward_from_a_step_on(n_step: int) -> None:
    """No row mixes two rewards, none of the old one comes later, and nothing else changes."""
    plain, changed = (task("lsp/RllabAnt-v0", 3, n_step, limit=8) for _ in range(2))
    chosen = actions(8, 16)
    for executor in (plain, changed):
        executor.reset()
        run(executor, chosen[:4])
    changed.set_reward("2*env")
    ours, theirs, layout = run(changed, chosen[4:]), run(plain, chosen[4:]), Layout.of(plain.spec)
    assert [step.packed is None for step in ours] == [True] * (n_step - 1) + [False] * (13 - n_step)
    for late, row in zip(ours[n_step - 1 :], theirs[n_step - 1 :], strict=True):
        got, expected = (layout.unpack(step.packed) for step in (late, row))
        np.testing.assert_array_equal(got.observation, expected.observation)
        np.testing.assert_allclose(got.reward, 2 * expected.reward, rtol=1e-5)
    if n_step == 1:  # the return so far is of the new reward alone
        assert ours[0].discounted_return == pytest.approx(layout.unpack(ours[0].packed).reward, rel=1e-5)
    ended, last = (ours[at].episode for at in (3, 11))
    assert (ended.episode_return, last.episode_return) == (theirs[3].episode.episode_return, last.layer_return / 2)
    assert ended.layer_return is None
    again = task("lsp/RllabAnt-v0", 3, n_step, limit=8)
    again.reset()
    again.set_reward("2*env")
    again.set_state(changed.get_state())
    np.testing.assert_equal(run(again, chosen), run(changed, chosen))


def own_function(observation: Any, action: Any, next_observation: Any, info: Any) -> float:
    """Tells all that it is given apart."""
    return float(observation[2] + 10 * next_observation[2] + 100 * action[1] + 1000 * isinstance(info, dict))


def test_a_function_is_given_the_step() -> None:
    executor = Executor(envs.make("lsp/PointMass-v0"), 3, GAMMA, 1, f"{__name__}:own_function")
    executor.reset()
    chosen = actions(2, 5)
    for step, action in zip(run(executor, chosen), chosen, strict=True):
        row = Layout.of(executor.spec).unpack(step.packed)
        expected = row.observation[2] + 10 * row.next_observation[2] + 100 * action[1] + 1000
        assert row.reward == pytest.approx(expected, rel=1e-5)


def test_a_reward_that_breaks_down() -> None:
    executor = Executor(envs.BoxEnv(Countdown(), "countdown"), 0, GAMMA, 1, "steps+wings")
    executor.reset()
    with pytest.raises(envs.EnvironmentFault) as caught:
        run(executor, actions(1, 1))
    assert str(caught.value).startswith("layer reward steps+wings: the environment's info has no 'wings'; ")
    assert str(caught.value).endswith(", at step 1 of an episode of countdown")
