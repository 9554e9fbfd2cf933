"""The public names."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import lsp

ROOT = Path(__file__).parents[1]
TINY = {"flow.hidden_sizes": [4], "flow.embedding_sizes": [4], "critic.hidden_sizes": [4]}


def tiny(**values: object) -> lsp.Config:
    return lsp.config.from_dict(lsp.config.to_dict(lsp.presets()) | TINY | values)


def test_every_public_name_is_there() -> None:
    assert [name for name in lsp.__all__ if not hasattr(lsp, name)] == []
    assert set(lsp.__all__) <= set(dir(lsp))
    assert lsp.Transition._fields[0] == "observation"
    with pytest.raises(AttributeError, match="has no attribute 'Transitions'"):
        _ = lsp.Transitions


def test_modules_come_when_they_are_asked_for() -> None:
    """After `import lsp` alone; `lsp.run` and `lsp.grid` are modules, and no names of ours hide any."""
    files = {*(ROOT / "lsp").glob("*.py"), *(path.parent for path in (ROOT / "lsp").glob("*/__init__.py"))}
    modules = {path.stem for path in files} - {"__init__"}
    assert modules <= set(dir(lsp))
    assert modules.isdisjoint(lsp.__all__)
    script = f"import lsp; assert all(getattr(lsp, each).__name__ == f'lsp.{{each}}' for each in {sorted(modules)})"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_importing_does_no_work() -> None:
    script = "import sys, lsp; assert {'jax', 'numpy', 'gymnasium', 'lsp.config'}.isdisjoint(sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_build_reads_the_sizes_of_the_environment() -> None:
    config = tiny(env="lsp/PointMass-v0", env_kwargs=json.dumps({"max_episode_steps": 5}))
    recipe = lsp.build(config)
    assert recipe.config == config
    params = jax.eval_shape(lambda key: recipe.agent.actor_params(recipe.agent.init(key)), jax.random.key(0))
    action = jax.eval_shape(recipe.agent.act_mode, params, jax.ShapeDtypeStruct((4,), jnp.float32))
    assert action.env_action.shape == (2,)


def test_build_for_given_sizes_needs_no_environment() -> None:
    recipe = lsp.build(tiny(env="nowhere/None-v0"), lsp.EnvSpec(observation_dim=3, action_dim=5))
    params = jax.eval_shape(lambda key: recipe.agent.actor_params(recipe.agent.init(key)), jax.random.key(0))
    action = jax.eval_shape(recipe.agent.act_mode, params, jax.ShapeDtypeStruct((7, 3), jnp.float32))
    assert action.env_action.shape == (7, 5)


def test_build_refuses_what_cannot_run() -> None:
    with pytest.raises(lsp.ConfigError, match=r"--replay\.capacity=5"):
        lsp.build(tiny(**{"replay.capacity": 5}), lsp.EnvSpec(3, 2))
