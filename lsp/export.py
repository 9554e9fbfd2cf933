"""Policies to take elsewhere: `python -m lsp.export runs/NAME`; `load_policy` from a notebook.

    policy/policy.json  weights.npz   description and numbers, for NumPy
    policy/numpy_policy.py            the few lines of NumPy that evaluate them; needs nothing of `lsp`
    policy/policy.stablehlo           observation f32[b, S], latent f32[b, A] -> action f32[b, A], by `jax.export`

Actions are within the environment's own bounds. Loading reads numbers, text and StableHLO: no pickle, no code.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsp import envs, normalizers, numpy_policy
from lsp.agents.learner import make_flat_params
from lsp.agents.stack import Layer
from lsp.commands import Parser, status_of
from lsp.config import Config
from lsp.flows import registry as flows
from lsp.numpy_policy import NumpyPolicy
from lsp.training.loading import load_run
from lsp.types import Agent, Array, EnvSpec, Params

PLATFORMS = ("cpu", "cuda", "tpu")


class Actor(NamedTuple):
    """What a checkpoint holds of a policy, and the environment it acts in."""

    agent: Agent
    params: Params
    layers: Sequence[Layer]  # bottom first; the last is the one in training, as it stands
    config: Config
    spec: EnvSpec
    low: np.ndarray  # f32[A] the environment's own bounds
    high: np.ndarray
    step: int


def load_actor(run_dir: Path, step: int | None = None) -> Actor:
    """The actor in a run's newest checkpoint, or in that of `step`. Raises ConfigError or CheckpointError."""
    run = load_run(run_dir, step)
    with closing(envs.make_env(run.config)) as env:
        space = env.env.action_space
    low, high = (np.asarray(bound, np.float32) for bound in (space.low, space.high))  # type: ignore[attr-defined]
    return Actor(run.recipe.agent, run.actor_params(), run.layers(), run.config, run.spec, low, high, run.step)


def to_numpy(actor: Actor) -> NumpyPolicy:
    """The actor's policy, evaluated by NumPy."""
    description = {
        "format": numpy_policy.FORMAT,
        "env": actor.config.env,
        "env_kwargs": actor.config.env_kwargs,
        "step": actor.step,
        "observation_dim": actor.spec.observation_dim,
        "action_dim": actor.spec.action_dim,
        "low": actor.low.tolist(),
        "high": actor.high.tolist(),
        "layers": [
            {"observation_dim": layer.spec.observation_dim, **flows.describe(layer.config)} for layer in actor.layers
        ],
    }
    weights = {f"{i}/{name}": leaf for i, layer in enumerate(actor.layers) for name, leaf in _weights(layer).items()}
    return NumpyPolicy(description, weights)


def _weights(layer: Layer) -> dict[str, np.ndarray]:
    flow = flows.make_flow(layer.config, layer.spec)
    flat = make_flat_params(lambda key: {"policy": flow.init(key)})
    leaves = jax.tree_util.tree_leaves_with_path(flat.unravel(layer.values.params)["policy"])
    found = {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}
    if layer.normalized:
        stats = layer.values.observation_stats
        found["observation/mean"] = np.asarray(stats.mean)
        found["observation/std"] = np.asarray(normalizers.scale(stats))
    return found


def to_stablehlo(actor: Actor) -> bytes:
    """observation f32[b, S], latent f32[b, A] -> action f32[b, A], for any b, weights inside."""

    def act(observation: Array, latent: Array) -> Array:
        action = actor.agent.act_latent(actor.params, observation, latent).env_action
        center, half_range = (actor.high + actor.low) / 2, (actor.high - actor.low) / 2
        low, high, center, half_range = (
            jnp.broadcast_to(row, action.shape) for row in (actor.low, actor.high, center, half_range)
        )
        return jnp.clip(center + half_range * action, low, high)

    (batch,) = jax.export.symbolic_shape("b")
    observation = jax.ShapeDtypeStruct((batch, actor.spec.observation_dim), np.float32)
    latent = jax.ShapeDtypeStruct((batch, actor.spec.action_dim), np.float32)
    return bytes(jax.export.export(jax.jit(act), platforms=PLATFORMS)(observation, latent).serialize())


def load_policy(run_dir: str | Path) -> NumpyPolicy:
    """The policy of a run's newest checkpoint, or of an exported folder, as a function of NumPy arrays.

        action = policy(observation)          at the zero latent, which is not the density's mode
        action = policy(observation, key)     sampled; `key` is a NumPy generator, a seed or a JAX key

    observation f32[..., S] -> action f32[..., A] within the environment's bounds. Runs no code from the folder.

    Raises:
      ConfigError: neither a run nor an exported folder.
      CheckpointError: a run without a checkpoint that can be used.
    """
    folder = Path(run_dir)
    exported = (folder / "policy.json").exists()
    return numpy_policy.load(folder) if exported else to_numpy(load_actor(folder))


def save(actor: Actor, out: Path) -> float:
    """Write the policy's folder; returns the largest difference between NumPy's actions and the agent's.

    Raises OSError.
    """
    policy, program = to_numpy(actor), to_stablehlo(actor)
    rng = np.random.default_rng(0)
    observation = rng.standard_normal((64, actor.spec.observation_dim), np.float32)
    latent = rng.standard_normal((64, actor.spec.action_dim), np.float32)
    theirs = np.asarray(jax.export.deserialize(bytearray(program)).call(observation, latent))
    out.mkdir(parents=True, exist_ok=True)
    (out / "policy.json").write_text(json.dumps(policy.description, indent=2) + "\n")
    np.savez(out / "weights.npz", allow_pickle=False, **policy.weights)
    (out / "policy.stablehlo").write_bytes(program)
    shutil.copy(numpy_policy.__file__, out / "numpy_policy.py")
    return float(np.max(np.abs(policy.at_latent(observation, latent) - theirs)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit status."""
    return status_of(lambda: _export(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = Parser("export", "Write a run's policy so that it loads without lsp: NumPy, and StableHLO by jax.export.")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--step", type=int, help="which checkpoint, by its environment step (default: the newest)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: RUN/policy)")
    return parser


def _export(options: argparse.Namespace) -> int:
    out = options.out or options.run / "policy"
    actor = load_actor(options.run, options.step)
    difference = save(actor, out)
    print(f"lsp: policy of step {actor.step:,} in {out}: NumPy and StableHLO differ by at most {difference:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
