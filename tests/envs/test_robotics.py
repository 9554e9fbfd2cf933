"""The tasks of gymnasium-robotics, where they are installed: array rewards equal to their own; and lines that help."""

import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from lsp import envs
from lsp.config import ConfigError, packaging
from lsp.envs import robotics
from lsp.envs.factory import ROBOTICS

INSTALLED = find_spec("gymnasium_robotics") is not None
installed = pytest.mark.skipif(not INSTALLED, reason="needs the extra robotics")
TASKS = [
    ("FetchReach-v4", {}, 0.05),
    ("FetchReachDense-v4", {}, 0.05),
    ("FetchPush-v4", {}, 0.05),
    ("FetchSlide-v4", {}, 0.05),
    ("FetchPickAndPlace-v4", {}, 0.05),
    ("PointMaze_UMaze-v3", {}, 0.45),
    ("PointMaze_UMaze-v3", {"continuing_task": False}, 0.45),
    ("PointMaze_UMazeDense-v3", {}, 0.45),
    ("AntMaze_UMaze-v5", {}, 0.45),
]


MODULE = {"__module__": f"{robotics.PACKAGE}envs"}


def fetch(reward_type: str) -> Any:
    """Something of the Fetch tasks' class name, with what is read of them."""
    return type("MujocoFetchEnv", (), MODULE | {"reward_type": reward_type, "distance_threshold": 0.05})()


def maze(reward_type: str, continuing: bool) -> Any:
    return type("MazeEnv", (), MODULE | {"reward_type": reward_type, "continuing_task": continuing})()


@pytest.mark.parametrize(
    ("base", "near", "far", "ends"),
    [
        (fetch("sparse"), 0.0, -1.0, False),
        (fetch("dense"), -0.04, -0.5, False),
        (maze("sparse", True), 1.0, 0.0, False),
        (maze("sparse", False), 1.0, 0.0, True),
        (maze("dense", True), np.exp(-0.04), np.exp(-0.5), False),
    ],
)
def test_rules(base: Any, near: float, far: float, ends: bool) -> None:
    rules = robotics.rules_of(base)
    assert rules is not None
    achieved, goal = np.array([[0.04, 0.0], [0.0, 0.5]]), np.zeros((2, 2))
    np.testing.assert_allclose(rules.reward(achieved, goal, np.zeros(2)), [near, far])
    assert rules.terminated(achieved, goal).tolist() == [ends, False]


def test_another_task_has_no_known_rules() -> None:
    assert robotics.rules_of(SimpleNamespace()) is None


def test_somebody_elses_classes_of_the_same_names_have_none() -> None:
    """Nor has a subclass, which may reward otherwise, nor a class that only mentions the package."""
    known = type(maze("sparse", True))
    assert robotics.rules_of(known()) is not None
    assert robotics.rules_of(type("MazeEnv", (), {"reward_type": "sparse"})()) is None
    assert robotics.rules_of(type("MujocoFetchEnv", (), {})()) is None
    assert robotics.rules_of(type("MyMaze", (known,), {})()) is None
    assert robotics.rules_of(type("MazeEnv", (), {"__module__": "gymnasium_robotics_of_mine"})()) is None


@installed
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "kwargs", "radius"), TASKS, ids=str)
def test_the_array_reward_is_the_tasks_own(name: str, kwargs: Any, radius: float, rng: np.random.Generator) -> None:
    """On 100,000 pairs, half of them within the radius."""
    env = envs.make(name, **kwargs)
    task, base = envs.spec_of(env).goals, env.unwrapped
    assert not task.on_host
    goal = rng.normal(size=(100_000, task.dim))
    direction = rng.normal(size=goal.shape)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    away = radius * rng.uniform(0.0, 2.0, (len(goal), 1))
    achieved = goal + away * direction
    clear = np.abs(away[:, 0] - radius) > 1e-5
    expected = base.compute_reward(achieved, goal, {})
    pair = achieved.astype(np.float32), goal.astype(np.float32)
    found = jax.jit(task.reward)(*pair, np.zeros(len(goal), np.float32))
    np.testing.assert_allclose(found[clear], expected[clear], rtol=1e-4, atol=1e-5)
    ended = jax.jit(task.terminated)(*pair)
    some = np.flatnonzero(clear)[:1000]
    own = [base.compute_terminated(achieved[i], goal[i], {}) for i in some]
    np.testing.assert_array_equal(np.asarray(ended)[some], own)


@installed
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "dims"), [("FetchPush-v4", (28, 4, 3, 50)), ("PointMaze_UMaze-v3", (6, 2, 2, 300))])
def test_steps(name: str, dims: tuple[int, ...]) -> None:
    env = envs.make(name)
    spec = envs.spec_of(env)
    assert (spec.observation_dim, spec.action_dim, spec.goals.dim, spec.goals.max_episode_steps) == dims
    env.reset(seed=0)
    for _ in range(5):
        observation, reward, *_, info = env.step(env.action_space.sample())
        goal, achieved = observation[-spec.goals.dim :], env.outcome[: spec.goals.dim]
        assert spec.goals.reward(achieved, goal, reward) == reward
        assert info["is_success"] in (0.0, 1.0)


def test_a_mujoco_that_breaks_fetch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, breaks in (("3.11.0", False), ("3.12.0", True), ("4.0.1", True)):
        monkeypatch.setattr(metadata, "version", lambda name, version=version: version)
        if not breaks:
            robotics.check_mujoco("FetchReach-v4")
            continue
        message = f"'FetchReach-v4' fails with mujoco {version}, .*: .* -m pip install 'mujoco<3.12'$"
        with pytest.raises(ConfigError, match=message):
            robotics.check_mujoco("FetchReach-v4")


@pytest.mark.parametrize("start", ROBOTICS)
def test_without_the_extra_one_line_names_it(start: str) -> None:
    code = (
        "import sys; sys.modules['gymnasium_robotics'] = None\n"
        f"from lsp import envs, config\ntry: envs.make('{start}Reach-v4')\n"
        "except config.ConfigError as error: print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    what = f"environment '{start}Reach-v4' needs gymnasium-robotics, an extra of lsp"
    assert found.strip() == f"{what}: {packaging.install('robotics')}"
