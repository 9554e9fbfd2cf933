import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from lsp.config import ConfigError
from lsp.envs import EnvironmentFault, make
from lsp.envs.box import BoxEnv
from tests.support.lying_env import RIGHT, WRONG, Nameless


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


LYING = "tests.support.lying_env:Lying"
STEPS = 4  # of an episode


def told(what: str, at: int, limits: dict[str, int]) -> tuple[list, str]:
    """Results of two episodes, or the message that they end with."""
    action, results = np.full(8, 0.5, np.float32), []
    try:
        env = make(LYING, what=what, at=at, limit=STEPS, **limits)
        for episode in range(2):
            results.append(env.reset(seed=None if episode else 3))
            for _ in range(STEPS):
                results.append(env.step(action))  # noqa: PERF401  # those before an error count
        env.close()
    except (EnvironmentFault, ConfigError) as error:
        return results, str(error)
    return results, ""


@pytest.mark.parametrize("at", [1, STEPS, STEPS + 2])
@pytest.mark.parametrize("what", WRONG)
def test_a_lie_is_told_in_one_line(what, at):
    """At the first step, at the last of an episode, and in the next one."""
    call = WRONG[what].call
    at = at if call == "step" else min(at, 2)
    results, message = told(what, at, {})
    assert "\n" not in message
    assert LYING in message
    assert len(message) < 400
    assert [word for word in WRONG[what].says if word not in message] == [], message
    if call == "step":
        assert len(results) == at + (at > STEPS)
        assert f"at step {at if at <= STEPS else at - STEPS}" in message


def test_old_interfaces_below_gymnasium_s_wrappers_are_told_apart():
    _, message = told("step returns four values", 1, {"max_episode_steps": 3})
    assert "ValueError: not enough values to unpack (expected 5, got 4) at step 1; if it has the interface of gym" in (
        message
    )
    assert "let it return observation, reward, terminated, truncated, info" in message


@pytest.mark.parametrize("what", RIGHT)
def test_what_can_be_used_is_used(what, capsys):
    honest, _ = told("honest", 1, {})
    results, message = told(what, 1, {})
    assert message == ""
    assert len(results) == len(honest)
    for result, expected in zip(results, honest, strict=True):
        np.testing.assert_allclose(result[0], expected[0], rtol=1e-6)
        assert type(result[-1]) is dict
        assert all(isinstance(key, str) for key in result[-1])
        if len(result) == 5:
            assert [type(value) for value in result[1:4]] == [float, bool, bool]
            assert result[2:4] == expected[2:4]
            if "number" not in what and "truth" not in what:
                assert result[1] == pytest.approx(expected[1], rel=1e-3)
    err = capsys.readouterr().err
    assert err.count("\n") == what.startswith("close")
    assert ("when it was closed; that changes nothing" in err) == what.startswith("close")


@pytest.mark.parametrize(
    "error", [SystemExit(2), GeneratorExit("odd"), Nameless(), StopIteration(), MemoryError("all")]
)
def test_errors_that_nobody_foresaw(scripted, error):
    env, inner = scripted
    inner.error = error
    with pytest.raises(EnvironmentFault, match=f"^environment scripted raised {type(error).__name__}"):
        env.step(np.zeros(2, np.float32))
    with pytest.raises(EnvironmentFault, match=f"^environment scripted raised {type(error).__name__}.* in reset"):
        env.reset()


@pytest.mark.parametrize("call", ["reset", "close", "render"])
def test_keyboard_interrupt_passes_everywhere(scripted, call, monkeypatch):
    env, inner = scripted

    def interrupted(**kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(inner, call, interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt):
        getattr(env, call)()


def test_the_environment_may_change_what_it_was_given(scripted):
    env, inner = scripted
    action = np.full(2, 0.5, np.float32)
    env.step(action)
    inner.actions[-1][:] = 99
    assert action.tolist() == [0.5, 0.5]
    env.step(action)
    assert inner.actions[-1] == pytest.approx([1, 7.5])
