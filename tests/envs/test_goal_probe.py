"""What hindsight cannot reward is refused before training, and what it assumes is said in a line."""

import gc
import re
from typing import Any

import numpy as np
import pytest

from lsp import envs
from lsp.config import Config, ConfigError, GoalsConfig
from lsp.envs.goal_probe import STEPS, probe
from tests.support import goal_envs

HERE = goal_envs.__name__
ENDINGS = "it has no compute_terminated, so that an episode that terminates has failed whatever its goal"


def lines(name: str, **given: Any) -> list[str]:
    return probe(envs.make(f"{HERE}:{name}", **given))


@pytest.mark.parametrize("name", ["Point", "Grid", "Square", "Closing", "Late", "OfMine", "MazeEnv"])
def test_rewards_of_the_goal_alone_need_one_line(name: str) -> None:
    (line,) = lines(name)
    assert line.startswith(f"environment {HERE}:{name}: {ENDINGS}")


def test_nothing_is_said_of_tasks_that_are_known() -> None:
    for name in ("lsp/Reacher2D-v0", "lsp/PointMass-v0"):
        env: Any = envs.make(name)
        assert probe(env) == []
        assert env.episode_steps == 0, "nor is anything tried"


def test_nothing_is_assumed_where_the_environment_says_what_ends() -> None:
    assert lines("Told") == []


@pytest.mark.parametrize(("name", "difference"), [("Crash", 5.0), ("Cost", 2.0), ("Taxed", 0.25)])
def test_a_reward_beside_that_of_the_goal_is_said(name: str, difference: float) -> None:
    first = lines(name)[0]
    assert "with another goal, a transition gets reward + compute_reward(achieved, new goal) - " in first
    found = re.search(r"it was (\S+) where compute_reward says ([-.\d]+)", first)
    assert found is not None
    step, of_goal = map(float, found.groups())
    assert of_goal - step == pytest.approx(difference, rel=0.2)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("Weighted", {}, "its compute_reward uses info, which adds"),
        ("Shrinking", {}, "for the same goals: it depends on the state of the environment, or on chance"),
        ("Shrinking", {"every": 1}, "for the same goals: it depends on the state"),
        ("Late", {"after": 3}, "for the same goals: it depends on the state"),
        ("Noisy", {}, "gives other rewards for the same goals when it is called again"),
    ],
)
def test_what_hindsight_cannot_reward_is_refused(name: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        lines(name, **given)
    assert words in str(caught.value)
    assert "--goals.kind=none" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loop_says_what_it_costs() -> None:
    config = Config(env=f"{HERE}:Plane", goals=GoalsConfig("hindsight", one_by_one=True))
    said: list[str] = []
    spec = envs.learner_spec(config, said.append)
    assert spec.goals is not None
    assert any("ms for 1,000 goals, one by one" in line for line in said)
    assert spec.goals.reward(np.zeros((2, 2)), np.eye(2) / 5, np.zeros(2)).tolist() == [0, 0]


def test_trying_an_environment_out_changes_nothing_that_follows_a_seed() -> None:
    tried, fresh = (envs.make(f"{HERE}:Crash") for _ in range(2))
    probe(tried)
    for env in (tried, fresh):
        env.reset(seed=3)
    for action in np.random.default_rng(0).uniform(-1, 1, (5, 2)):
        np.testing.assert_array_equal(tried.step(action)[0], fresh.step(action)[0])


def test_the_judge_stays_open_while_anybody_may_ask_it() -> None:
    """Closed with the last that could: not before, and without hindsight at once."""
    config = Config(env=f"{HERE}:Closing", goals=GoalsConfig("hindsight"))
    spec = envs.learner_spec(config, print)
    assert spec.goals is not None
    judge: Any = spec.goals.reward
    assert judge(np.zeros((2, 2)), np.eye(2), np.zeros(2)).tolist() == [-1, -1]
    inside = judge.__self__._env.unwrapped
    assert inside.simulator is not None
    del spec, judge
    gc.collect()
    assert inside.simulator is None


def test_trying_takes_few_steps() -> None:
    env: Any = envs.make(f"{HERE}:Point")
    probe(env)
    assert env.unwrapped.episode <= STEPS // goal_envs.LIMIT + 2


def test_a_change_in_training_is_said_once(capsys: Any) -> None:
    env = envs.make(f"{HERE}:Late", after=3)
    for _ in range(5):
        env.reset()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"lsp: warning: environment {HERE}:Late: its compute_reward gives 0 where it gave -1 for the"
    )
