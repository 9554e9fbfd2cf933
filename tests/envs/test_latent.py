"""Frozen layers as an environment of latents, for whoever trains on top."""

import importlib.util
import warnings
from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest
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
