"""Rewards of layers' own: what can be written, what it is worth, and what is refused in one line."""

import math
from typing import Any

import numpy as np
import pytest

from lsp.config import ConfigError
from lsp.envs.rewards import LayerReward, RewardFault, make

INFO = {"reward_forward": 2.0, "reward_ctrl": np.float32(-0.5), "lives": 3, "pose": np.ones(2), "name": "ant"}


def product(observation: Any, action: Any, next_observation: Any, info: Any) -> Any:
    """What a user may write; all four arguments matter."""
    return observation[0] + 10 * action[0] + 100 * next_observation[0] + 1000 * info["lives"]


def broken(*_: Any) -> float:
    raise ArithmeticError("no\nreward")


def nothing(*_: Any) -> None:
    """A function without a return."""


constant = 3.0
HERE = __name__


def worth(text: str, env_reward: float = 7.0) -> float:
    vectors = (np.full(2, value, np.float32) for value in (1.0, 2.0, 3.0))
    return LayerReward(text)(env_reward, *vectors, INFO)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("reward_forward", 2.0),
        ("reward_forward+0.5*reward_ctrl", 1.75),
        ("-reward_forward", -2.0),
        ("env-env", 0.0),
        ("2*env + lives", 17.0),
        (f"{HERE}:product", 3321.0),
        (f"0.1*{HERE}:product-env", 325.1),
    ],
)
def test_worth(text: str, value: float) -> None:
    assert worth(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "env", "1*env", " env "])
def test_the_environment_s_own_costs_nothing(text: str) -> None:
    assert make(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reward_foward", "the environment's info has no 'reward_foward'; did you mean reward_forward?"),
        ("zzz", "has no 'zzz'; it has reward_forward, reward_ctrl, lives, pose, name"),
        ("pose", "pose is '[1. 1.]', which is no number"),
        ("name", "name is 'ant', which is no number"),
        (f"{HERE}:nothing", "nothing is 'None', which is no number"),
        (f"{HERE}:broken", f"{HERE}:broken raised ArithmeticError: no reward"),
    ],
)
def test_what_cannot_be_computed(text: str, message: str) -> None:
    with pytest.raises(RewardFault) as caught:
        worth(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite(value: float) -> None:
    with pytest.raises(RewardFault, match=f"it is {value}, which is not finite"):
        worth("lives+0.5*env", value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no_such_module:f", r"cannot import no_such_module:f \(ModuleNotFoundError: No module"),
        (f"{HERE}:no_such", r"cannot import .*:no_such \(AttributeError"),
        (f"{HERE}:constant", r"constant is '3.0', which is no function$"),
    ],
)
def test_what_is_no_function(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(text)


def test_a_text_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match=r"cannot be read from .* must be env, or terms"):
        make("a+*b")
