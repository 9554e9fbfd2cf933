import json
import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from lsp.config import ConfigError
from lsp.envs import can_restore, get_state, make, set_state
from lsp.envs.toys import PointMassEnv

RESTORABLE = (
    "lsp/RllabAnt-v0",
    "lsp/PointMass-v0",
    "lsp/Reacher2D-v0",
    "lsp/RllabAntGoal-v0",
    "lsp/RllabAntStudy-v0",
    "Ant-v5",
    "Ant-v4",
    "HalfCheetah-v5",
    "Hopper-v5",
    "Walker2d-v5",
    "Swimmer-v5",
    "Humanoid-v5",
    "Reacher-v5",
    "Pusher-v5",
    "InvertedPendulum-v5",
    "Pendulum-v1",
    "MountainCarContinuous-v0",
)
LIMIT = 40


def actions(env, count, seed):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *env.action_space.shape)).astype(np.float32)


def plain(info):
    return {name: np.array(value).tolist() for name, value in info.items()}


def roll(env, steps):
    """Everything that `steps` return, resets between episodes included."""
    record = []
    for action in steps:
        observation, reward, terminated, truncated, info = env.step(action)
        record.append((observation.tolist(), reward, terminated, truncated, plain(info)))
        if terminated or truncated:
            observation, info = env.reset()
            record.append((observation.tolist(), plain(info)))
    return record


def through_storage(state):
    """What a checkpoint does: arrays as bytes, the rest as JSON; nothing else may be in there."""
    if isinstance(state, dict):
        return {key: through_storage(value) for key, value in state.items()}
    if isinstance(state, np.ndarray):
        return np.frombuffer(state.tobytes(), state.dtype).reshape(state.shape)
    return json.loads(json.dumps(state))


@pytest.mark.parametrize("name", RESTORABLE)
@pytest.mark.parametrize("before", [0, 7, 57])
def test_a_fresh_environment_goes_on_bit_for_bit(name, before):
    env, fresh = make(name, max_episode_steps=LIMIT), make(name, max_episode_steps=LIMIT)
    env.reset(seed=5)
    roll(env, actions(env, before, seed=1))
    state = through_storage(get_state(env))
    continuation = actions(env, 100, seed=2)
    expected = roll(env, continuation)
    fresh.reset(seed=99)
    roll(fresh, actions(env, 3, seed=3))
    set_state(fresh, state)
    assert roll(fresh, continuation) == expected
    assert len(expected) > 100  # it crossed an episode's end


def test_the_state_is_a_copy():
    env = make("lsp/PointMass-v0")
    env.reset(seed=0)
    state = get_state(env)
    before = json.dumps(state["generator"]), state["base"]["state"].copy()
    set_state(env, state)
    roll(env, actions(env, 60, seed=0))
    assert json.dumps(state["generator"]) == before[0]
    assert np.array_equal(state["base"]["state"], before[1])


@pytest.mark.parametrize("name", ["Ant-v5", "Humanoid-v5"])
@pytest.mark.parametrize("part", ["xpos and xipos", "elapsed_steps", "generator", "physics"])
def test_every_part_of_the_recipe_is_needed(name, part):
    """Spoil one part of the state: the continuation must differ, or the part would be idle."""
    env, fresh, other = (make(name, max_episode_steps=15) for _ in range(3))  # short: before Humanoid falls
    env.reset(seed=5)
    roll(env, actions(env, 10, seed=1))
    state = get_state(env)
    continuation = actions(env, 60, seed=2)
    expected = roll(env, continuation)
    other.reset(seed=6)
    if part == "xpos and xipos":
        state["base"]["xpos"] += 1e-3 * np.arange(state["base"]["xpos"].size).reshape(-1, 3)
        state["base"]["xipos"] += 1e-3 * np.arange(state["base"]["xipos"].size).reshape(-1, 3)
    elif part == "physics":
        state["base"]["physics"] = get_state(other)["base"]["physics"]
    else:
        state[part] = get_state(other)[part]
    set_state(fresh, state)
    assert roll(fresh, continuation) != expected


def test_another_process_goes_on_bit_for_bit(tmp_path):
    """Nothing hides in this process: a new one, given only arrays and JSON, predicts the same rewards."""
    env = make("lsp/RllabAnt-v0", max_episode_steps=LIMIT)
    env.reset(seed=5)
    roll(env, actions(env, 30, seed=1))
    state = get_state(env)
    np.savez(tmp_path / "base.npz", **state["base"])
    (tmp_path / "rest.json").write_text(json.dumps({k: state[k] for k in ("generator", "elapsed_steps")}))
    np.save(tmp_path / "actions.npy", actions(env, 50, seed=2))
    code = (
        "import json, numpy as np; from lsp.envs import make, set_state\n"
        f"env = make('lsp/RllabAnt-v0', max_episode_steps={LIMIT})\n"
        "set_state(env, {'base': dict(np.load('base.npz')), **json.load(open('rest.json'))})\n"
        "rewards = []\n"
        "for action in np.load('actions.npy'):\n"
        "    _, reward, terminated, truncated, _ = env.step(action)\n"
        "    rewards.append(reward)\n"
        "    if terminated or truncated: env.reset()\n"
        "print(json.dumps(rewards))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    expected = [entry[1] for entry in roll(env, actions(env, 50, seed=2)) if len(entry) == 5]
    assert json.loads(result.stdout) == expected


class DriftingMass(PointMassEnv):
    """A subclass may hold state that we do not know of."""


def test_environments_and_wrappers_unknown_to_us_are_refused():
    known = make("lsp/PointMass-v0")
    unknown = make(f"{__name__}:DriftingMass")
    wrapped = gymnasium.wrappers.RecordEpisodeStatistics(PointMassEnv())
    assert can_restore(known)
    for env in (unknown, wrapped):
        assert not can_restore(env)
        with pytest.raises(ConfigError, match="cannot be saved and restored exactly"):
            get_state(env)
        with pytest.raises(ConfigError, match="cannot be saved and restored exactly"):
            set_state(env, {})


@pytest.mark.parametrize(
    ("saved", "wanted"), [("Hopper-v5", "Ant-v5"), ("Pendulum-v1", "Ant-v5"), ("Ant-v5", "Pendulum-v1")]
)
def test_the_state_of_another_environment_is_refused(saved, wanted):
    source, target = make(saved), make(wanted)
    source.reset(seed=0)
    with pytest.raises(ConfigError, match="does not fit"):
        set_state(target, get_state(source))


def test_the_state_of_other_wrappers_is_refused():
    source = make("lsp/PointMass-v0")
    source.reset(seed=0)
    with pytest.raises(ConfigError, match="wrappers"):
        set_state(PointMassEnv(), get_state(source))


def test_a_restored_robot_is_drawn_where_it_is():
    env, fresh = make("lsp/RllabAnt-v0"), make("lsp/RllabAnt-v0")
    env.reset(seed=5)
    roll(env, actions(env, 30, seed=1))
    set_state(fresh, get_state(env))
    assert np.array_equal(fresh.unwrapped.data.geom_xpos, env.unwrapped.data.geom_xpos)
