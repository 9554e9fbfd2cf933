import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from lsp.envs import EnvironmentFault, make
from lsp.envs.box import BoxEnv


class ScriptedEnv(gymnasium.Env):
    """Records actions; observation, reward and error are attributes to set."""

    observation_space = Box(-np.inf, np.inf, (2, 3), np.float64)
    action_space = Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32))

    def __init__(self):
        self.observation = np.arange(6.0).reshape(2, 3)
        self.reward = 1.0
        self.error = None
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.error:
            raise self.error
        return self.observation, {}

    def step(self, action):
        self.actions.append(action)
        if self.error:
            raise self.error
        return self.observation, self.reward, np.bool_(False), np.bool_(True), {"x": 1}


@pytest.fixture
def scripted():
    env = BoxEnv(ScriptedEnv(), "scripted")
    env.reset(seed=0)
    return env, env.unwrapped


@pytest.mark.parametrize(
    ("action", "received"),
    [([0, 0], [0, 5]), ([1, 1], [2, 10]), ([-1, -1], [-2, 0]), ([0.5, -0.5], [1, 2.5]), ([9, -9], [2, 0])],
)
def test_actions_are_scaled_and_clipped(scripted, action, received):
    env, inner = scripted
    env.step(np.array(action, np.float32))
    assert inner.actions[-1] == pytest.approx(received)
    assert inner.actions[-1] in inner.action_space


def test_results_are_flat_float32_and_plain(scripted):
    env, inner = scripted
    observation, reward, terminated, truncated, info = env.step(np.zeros(2, np.float32))
    assert observation in env.observation_space
    assert observation.tolist() == [0, 1, 2, 3, 4, 5]
    assert (reward, terminated, truncated, info) == (1.0, False, True, {"x": 1})
    assert type(reward) is float
    assert type(terminated) is type(truncated) is bool
    inner.observation[:] = -1
    assert observation.tolist() == [0, 1, 2, 3, 4, 5]


def test_an_observation_that_the_environment_reuses_is_copied_even_if_float32(scripted):
    env, inner = scripted
    inner.observation = np.zeros(6, np.float32)
    observation, *_ = env.step(np.zeros(2, np.float32))
    inner.observation[:] = 5
    assert observation.tolist() == [0] * 6


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_observation_that_is_not_finite_is_a_fault(scripted, value):
    env, inner = scripted
    env.step(np.zeros(2, np.float32))
    inner.observation[1, 1] = value
    with pytest.raises(EnvironmentFault, match=r"^environment scripted .* 1 of 6 .*entry 4 is .* at step 2$"):
        env.step(np.zeros(2, np.float32))
    with pytest.raises(EnvironmentFault, match="step 0"):
        env.reset()


def test_opposite_infinities_do_not_hide_each_other_and_large_numbers_pass(scripted):
    env, inner = scripted
    inner.observation[0, :2] = np.inf, -np.inf
    with pytest.raises(EnvironmentFault, match="2 of 6"), np.errstate(invalid="ignore"):
        env.step(np.zeros(2, np.float32))
    inner.observation[:] = 3e38
    with np.errstate(over="ignore"):
        assert np.isfinite(env.step(np.zeros(2, np.float32))[0]).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_is_a_fault(scripted, value):
    env, inner = scripted
    inner.reward = value
    with pytest.raises(EnvironmentFault, match=rf"^environment scripted returned reward {value} at step 1$"):
        env.step(np.zeros(2, np.float32))
    with pytest.raises(EnvironmentFault, match="after an action that is not finite"):
        env.step(np.full(2, np.nan, np.float32))


def test_what_the_environment_raises_is_named_and_chained(scripted):
    env, inner = scripted
    inner.error = ValueError("joint\nbroke")
    with pytest.raises(EnvironmentFault, match=r"^environment scripted raised ValueError: joint broke at step 1$") as e:
        env.step(np.zeros(2, np.float32))
    assert e.value.__cause__ is inner.error
    with pytest.raises(EnvironmentFault, match="raised ValueError: joint broke in reset"):
        env.reset()


def test_keyboard_interrupt_passes(scripted):
    env, inner = scripted
    inner.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        env.step(np.zeros(2, np.float32))


def test_humanoids_narrow_bounds_are_reached():
    env = make("Humanoid-v5")
    env.reset(seed=0)
    env.step(np.ones(17, np.float32))
    assert env.unwrapped.data.ctrl == pytest.approx(np.full(17, 0.4))
