import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from lsp.config import Config, ConfigError
from lsp.envs import env_spec, make, make_env, signatures, spec_of
from lsp.envs.toys import PointMassEnv
from lsp.types import EnvSpec
from tests.support.lying_env import Nameless

VECTOR = spaces.Box(-1.0, 1.0, (3,))


class ConfigurableEnv(gymnasium.Env):
    """Spaces are arguments; it remembers whether it was closed."""

    closed = False

    def __init__(self, observation_space=VECTOR, action_space=VECTOR, render_mode=None):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        return np.zeros(3, np.float32), 0.0, False, False, {}

    def close(self):
        type(self).closed = True


class ExplodingEnv(ConfigurableEnv):
    def __init__(self):
        raise ValueError("no\nassets")


NOT_AN_ENV = 3
HERE = f"{__name__}:ConfigurableEnv"


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("lsp/RllabAnt-v0", (125, 8)),
        ("lsp/PointMass-v0", (4, 2)),
        ("Ant-v5", (105, 8)),
        ("Ant-v4", (27, 8)),
        ("HalfCheetah-v5", (17, 6)),
        ("Pendulum-v1", (3, 1)),
        (HERE, (3, 3)),
        ("lsp.envs:lsp/PointMass-v0", (4, 2)),
    ],
)
def test_made_environments_step_in_float32(name, sizes):
    env = make(name)
    assert spec_of(env) == EnvSpec(*sizes)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    observation, *_ = env.step(env.action_space.sample())
    assert observation in env.observation_space
    env.close()


@pytest.mark.parametrize("name", ["lsp/PointMass-v0", HERE])
def test_time_limit_is_an_argument(name):
    env = make(name, max_episode_steps=2)
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.float32)
    assert [env.step(action)[3] for _ in range(2)] == [False, True]


def test_arguments_reach_the_constructor():
    assert spec_of(make("Ant-v5", include_cfrc_ext_in_observation=False)).observation_dim == 27


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("HalfChetah-v5", "unknown environment 'HalfChetah-v5': did you mean HalfCheetah-v5"),
        ("Ant-v99", "did you mean Ant-v5"),
        ("lsp/RllabAn-v0", "did you mean lsp/RllabAnt-v0"),
        ("qqqqqq", "give a Gymnasium id, module:id or module:Class"),
        ("no_such_module:X", "cannot import module 'no_such_module'"),
        ("numpy:array", "not a subclass of gymnasium.Env"),
        (f"{__name__}:NOT_AN_ENV", "3 is not a subclass"),
        (f"{__name__}:ExplodingEnv", "cannot be made with its defaults: ValueError: no assets"),
        ("CartPole-v1", r"actions Discrete\(2\) are not supported"),
        ("FrozenLake-v1", "Discrete observations"),
        ("Blackjack-v1", "Tuple observations"),
        ("", "Malformed"),
    ],
)
def test_a_name_that_cannot_be_made_gets_one_clear_line(name, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"observation_space": spaces.Dict({"desired_goal": VECTOR})}, "Dict observations .*goal environments"),
        (
            {"observation_space": spaces.Dict({"eye": spaces.Box(0, 255, (8, 8, 3), np.uint8)})},
            "eye: image observations",
        ),
        ({"observation_space": spaces.Box(0, 255, (8, 8, 3), np.uint8)}, "image observations"),
        ({"observation_space": spaces.Box(0, 255, (8, 8), np.uint8)}, "image observations"),
        ({"action_space": spaces.Box(-np.inf, 1.0, (2,))}, "unbounded actions"),
        ({"action_space": spaces.Box(-1, 1, (2,), np.int32)}, "continuous"),
        ({"action_space": spaces.Box(-3.4e38, 3.4e38, (2, 2))}, "good as unbounded"),
        ({"action_space": spaces.MultiDiscrete([2, 3])}, "continuous"),
    ],
)
def test_spaces_that_do_not_fit_are_refused_and_the_environment_closed(arguments, message, monkeypatch):
    monkeypatch.setattr(ConfigurableEnv, "closed", False)
    with pytest.raises(ConfigError, match=message):
        make(HERE, **arguments)
    assert ConfigurableEnv.closed


@pytest.mark.parametrize("name", ["Ant-v5", "lsp/PointMass-v0", HERE])
def test_a_wrong_argument_is_named(name):
    with pytest.raises(ConfigError, match=r"cannot be made with foo=1: TypeError: .*foo"):
        make(name, foo=1)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    monkeypatch.delitem(sys.modules, "lsp.envs.rllab_ant", raising=False)
    with pytest.raises(ConfigError, match=r"needs a package that is not installed: .*mujoco"):
        make("lsp/RllabAnt-v0")


def test_making_environments_imports_neither_jax_nor_mujoco_until_needed():
    code = "import sys, lsp.envs; lsp.envs.make('Pendulum-v1'); print([m in sys.modules for m in ('jax', 'mujoco')])"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.strip() == "[False, False]"


def test_the_environment_of_a_configuration() -> None:
    config = Config(env="lsp/Reacher2D-v0", env_kwargs='{"max_episode_steps": 9}')
    spec = env_spec(config)
    assert spec._replace(goals=None) == spec_of(make("lsp/Reacher2D-v0"))._replace(goals=None)
    assert spec.goals.max_episode_steps == 9
    assert spec_of(make_env(config, max_episode_steps=4)).goals.max_episode_steps == 4
    with pytest.raises(ConfigError, match="did you mean lsp/PointMass-v0"):
        env_spec(Config(env="lsp/PontMass-v0"))


class Raising(ConfigurableEnv):
    """Raises in its constructor what is called so."""

    def __init__(self, error):
        raise {"exit": SystemExit(3), "custom": Nameless(), "base": BaseException("all\nover")}[error]


@pytest.mark.parametrize(
    ("error", "message"),
    [("exit", "SystemExit: 3"), ("custom", r"Nameless \(test_factory.py"), ("base", "BaseException: all over")],
)
def test_a_constructor_that_raises_anything_at_all(error, message):
    with pytest.raises(ConfigError, match=f"cannot be made with error='{error}': {message}") as caught:
        make(f"{__name__}:Raising", error=error)
    assert "\n" not in str(caught.value)


def test_a_module_that_exits(tmp_path, monkeypatch):
    (tmp_path / "script_task.py").write_text("import sys\nsys.exit('usage: script_task FILE')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ConfigError, match=r"cannot import module 'script_task' \(SystemExit: usage: script_task FILE\)"
    ):
        make("script_task:Task")


def test_a_class_of_the_predecessor_is_told_so():
    OldEnv = type("OldEnv", (), {"__module__": "gym.core"})
    sys.modules[__name__].OldTask = type("OldTask", (OldEnv,), {})
    with pytest.raises(ConfigError, match="it is one of gym, Gymnasium's predecessor: import gymnasium as gym"):
        make(f"{__name__}:OldTask")


def test_dm_control_names_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "shimmy", None)
    with pytest.raises(ConfigError, match=r"needs shimmy, .*: pip install 'shimmy\[dm-control\]'"):
        make("dm_control/cartpole-balance-v0")


class Suite(ConfigurableEnv):
    """Shaped as those of dm_control are."""

    def __init__(self, render_mode=None):
        inside = {"position": VECTOR, "height": spaces.Box(-9.0, 9.0, (), np.float64)}
        self.render_mode = render_mode
        super().__init__(spaces.Dict(inside), spaces.Box(-0.1, 0.7, (2, 2), np.float64))

    def reset(self, *, seed=None, options=None):
        return {"position": np.array([1.0, 2.0, 3.0]), "height": np.float64(4.0)}, {}

    def step(self, action):
        assert action in self.action_space
        return self.reset()[0], float(action[0, 1]), False, False, {}


def test_parts_are_flattened_and_actions_handed_back_in_their_shape():
    env = make(f"{__name__}:Suite", render_mode="rgb_array")
    assert env.unwrapped.render_mode == "rgb_array"
    assert spec_of(env) == EnvSpec(4, 4)
    assert env.reset(seed=0)[0].tolist() == [4, 1, 2, 3]
    observation, reward, *_ = env.step(np.array([-1, 1, 0, 0], np.float32))
    assert observation.tolist() == [4, 1, 2, 3]
    assert reward == 0.7


class Twice(gymnasium.Wrapper):
    """Normalizes both, as Gymnasium's examples do."""

    def __init__(self):
        inner = gymnasium.wrappers.NormalizeObservation(PointMassEnv())
        super().__init__(gymnasium.wrappers.NormalizeReward(inner))


class Homemade(ConfigurableEnv):
    """With statistics of its own."""

    def __init__(self):
        super().__init__()
        self.obs_rms = object()


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("Twice", ["NormalizeReward", "NormalizeObservation"]), ("Homemade", ["Homemade"]), ("Suite", [])],
)
def test_running_statistics_inside_are_said_once(name, kinds, monkeypatch, capsys):
    monkeypatch.setattr(signatures, "_said", set())
    for _ in range(2):
        make(f"{__name__}:{name}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(kinds)
    for line, kind in zip(lines, kinds, strict=True):
        assert line.startswith(f"lsp: environment {__name__}:{name} has {kind} inside, whose running statistics")
        assert "evaluation, resume and export" in line
        assert "--normalize.observations=true" in line
