"""Frozen layers as an environment of latents, for whoever trains on top."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from gymnasium.utils.env_checker import check_env

from lsp import envs, hierarchy, normalizers
from lsp.agents import stack
from lsp.agents.stack import Layer
from lsp.config import ConfigError
from lsp.envs.toys import PointMassEnv
from lsp.hierarchy import Frozen
from lsp.storage import layer_files
from lsp.types import EnvSpec
from tests.support.builders import random_params, tiny_config

SPEC = EnvSpec(4, 2)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two layers for a point mass, of random parameters."""
    flow = stack.frozen_flow(tiny_config().flow, SPEC, normalized=True)
    for depth in range(2):
        params = random_params(lambda key: flow.init(key).params, np.random.default_rng(depth))
        stats = normalizers.init((4,))._replace(mean=np.float32([0.1, 0.2, 0.3, 0.4]))
        layer_files.save(tmp_path, depth, Layer(tiny_config().flow, SPEC, True, Frozen(params, stats)))
    return tmp_path


def test_a_latent_acts_as_what_it_decodes_to(run: Path) -> None:
    env, plain = envs.make_latent_env(run, "lsp/PointMass-v0"), envs.make("lsp/PointMass-v0")
    layers = layer_files.load(run)
    flows, values = stack.flows_of(layers), [layer.values for layer in layers]
    decode = jax.jit(lambda h, s: jax.numpy.tanh(hierarchy.decode(flows, values, h, s)[0]))
    observation, _ = env.reset(seed=3)
    np.testing.assert_array_equal(observation, plain.reset(seed=3)[0])
    rng = np.random.default_rng(0)
    for _ in range(50):
        latent = rng.normal(size=2).astype(np.float32)
        expected = decode(latent, observation)
        observation, reward, terminated, truncated, info = env.step(latent)
        np.testing.assert_allclose(info.pop("env_action"), expected, atol=1e-6)
        plain_step = plain.step(np.asarray(expected))
        np.testing.assert_allclose(observation, plain_step[0], atol=1e-6)
        assert (reward, terminated, truncated) == (pytest.approx(plain_step[1], abs=1e-6), *plain_step[2:4])
        assert info.keys() == plain_step[4].keys()
    assert truncated


def test_gymnasium_s_checker_passes(run: Path) -> None:
    """Its advice aside: bounds of observations are infinite, and those of latents are not 1."""
    env = envs.make_latent_env(run, PointMassEnv(), bound=3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(env, skip_render_check=True)
    assert env.action_space == gymnasium.spaces.Box(-3.0, 3.0, (2,), np.float32)


def test_layers_of_other_sizes_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its layers have 2 actions and this environment has 1"):
        envs.make_latent_env(run, "Pendulum-v1")
    with pytest.raises(ConfigError, match="has no layers to build on"):
        envs.make_latent_env(tmp_path / "nowhere", "lsp/PointMass-v0")


class Parts(PointMassEnv):
    """The point mass, observed in parts and pushed by a table."""

    observation_space = Dict(place=Box(-np.inf, np.inf, (2,)), speed=Box(-np.inf, np.inf, (2,)))
    action_space = Box(-1.0, 1.0, (2, 1), np.float64)

    def parts(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        return {"place": observation[:2], "speed": observation[2:]}

    def reset(self, **kwargs: Any) -> Any:
        observation, info = super().reset(**kwargs)
        return self.parts(observation), info

    def step(self, action: np.ndarray) -> Any:
        assert action in self.action_space
        observation, *rest = super().step(action[:, 0])
        return self.parts(observation), *rest


def test_other_shapes_are_the_same_task(run: Path) -> None:
    """With a dictionary to observe and a table of actions."""
    plain, parts = envs.make_latent_env(run, PointMassEnv()), envs.make_latent_env(run, Parts())
    assert plain.reset(seed=3)[0].tolist() == parts.reset(seed=3)[0].tolist()
    latent = np.array([0.5, -1.0], np.float32)
    expected, step = plain.step(latent), parts.step(latent)
    np.testing.assert_allclose(step[0], expected[0], rtol=1e-5)
    assert step[1] == pytest.approx(expected[1])
    with pytest.raises(ConfigError, match="actions Discrete"):
        envs.make_latent_env(run, gymnasium.make("CartPole-v1"))


@pytest.mark.skipif(
    importlib.util.find_spec("stable_baselines3") is None,
    reason="needs Stable-Baselines3: pip install -e '.[test-peers]'",
)
def test_stable_baselines_trains_on_top(run: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from stable_baselines3 import SAC

        env = envs.make_latent_env(run, "lsp/PointMass-v0")
        model = SAC("MlpPolicy", env, learning_starts=50, batch_size=32, policy_kwargs={"net_arch": [16]}, device="cpu")
        model.learn(120)
        action, _ = model.predict(env.reset(seed=0)[0])
    assert env.action_space.contains(action)
