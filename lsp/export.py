"""Policies to take elsewhere: `python -m lsp.export runs/NAME`; `load_policy` from a notebook.

    policy/policy.json  weights.npz   description and numbers, for NumPy
    policy/numpy_policy.py            the few lines of NumPy that evaluate them; needs nothing of `lsp`
    policy/policy.stablehlo           observation f32[b, S], latent f32[b, A] -> action f32[b, A], by `jax.export`

Actions are within the environment's own bounds, and of its own shape where that is none of a vector. Loading reads
numbers, text and StableHLO: no pickle, no code.
"""

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from lsp import envs, normalizers, numpy_policy
from lsp.agents.learner import make_flat_params
from lsp.agents.stack import Layer
from lsp.commands import Parser, status_of
from lsp.config import Config, ConfigError
from lsp.envs.flatten import Part
from lsp.flows import registry as flows
from lsp.numpy_policy import NumpyPolicy
from lsp.storage import checkpoint, publishing
from lsp.storage.publishing import POLICY
from lsp.storage.run_folder import read_config
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
    low: np.ndarray  # the environment's own bounds, of its own shape and dtype
    high: np.ndarray
    parts: Sequence[Part]  # of the environment's own observation, in the order of what the policy sees
    step: int


def load_actor(run_dir: Path, step: int | None = None, env: envs.BoxEnv | None = None) -> Actor:
    """The actor in a run's newest checkpoint, or in that of `step`. Raises ConfigError or CheckpointError.

    Sizes and bounds are those of `env`, the run's environment; without, one is made to read them.
    """
    if env is None:
        with closing(envs.make_env(read_config(run_dir))) as made:
            return load_actor(run_dir, step, made)
    run, space = load_run(run_dir, step, env), env.env.action_space
    own = space.low, space.high, env.parts  # type: ignore[attr-defined]
    return Actor(run.recipe.agent, run.actor_params(), run.layers(), run.config, run.spec, *own, run.step)


def to_numpy(actor: Actor) -> NumpyPolicy:
    """The actor's policy, evaluated by NumPy."""
    description = {
        "format": numpy_policy.FORMAT,
        "env": actor.config.env,
        "env_kwargs": actor.config.env_kwargs,
        "step": actor.step,
        "observation_dim": actor.spec.observation_dim,
        "action_dim": actor.spec.action_dim,
        "observation": _described(actor.parts),
        "dtype": actor.low.dtype.name,
        "low": actor.low.tolist(),
        "high": actor.high.tolist(),
        "layers": [
            {"observation_dim": layer.spec.observation_dim, **flows.describe(layer.config)} for layer in actor.layers
        ],
    }
    weights = {f"{i}/{name}": leaf for i, layer in enumerate(actor.layers) for name, leaf in _weights(layer).items()}
    return NumpyPolicy(description, weights)


def _described(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Keys and shape of each box; none where numbers become others, which is left to `lsp.envs.flatten`."""
    if not all(isinstance(part.space, spaces.Box | spaces.MultiBinary) for part in parts):
        return []
    return [{"path": list(part.path), "shape": list(part.space.shape or ())} for part in parts]


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
    """observation f32[b, S], latent f32[b, A] -> action f32[b, A], for any b, weights inside.

    Where the environment's actions are no vectors, their own axes stand in place of A.
    """
    rows = within_float32(actor.low.ravel(), actor.high.ravel())

    def act(observation: Array, latent: Array) -> Array:
        action = actor.agent.act_latent(actor.params, observation, latent).env_action
        low, high, center, half_range = (
            jnp.broadcast_to(row, action.shape) for row in (*rows, (rows[1] + rows[0]) / 2, (rows[1] - rows[0]) / 2)
        )
        return jnp.clip(center + half_range * action, low, high).reshape(action.shape[0], *actor.low.shape)

    (batch,) = jax.export.symbolic_shape("b")
    observation = jax.ShapeDtypeStruct((batch, actor.spec.observation_dim), np.float32)
    latent = jax.ShapeDtypeStruct((batch, actor.spec.action_dim), np.float32)
    return bytes(jax.export.export(jax.jit(act), platforms=PLATFORMS)(observation, latent).serialize())


def within_float32(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds [A] as float32, not below `low` and not above `high`; their nearest where float32 has none between."""
    lowest, highest = low.astype(np.float32), high.astype(np.float32)
    lowest = np.where(lowest < low, np.nextafter(lowest, np.float32(np.inf)), lowest)
    highest = np.where(highest > high, np.nextafter(highest, np.float32(-np.inf)), highest)
    none = lowest > highest
    return np.where(none, low.astype(np.float32), lowest), np.where(none, low.astype(np.float32), highest)


def load_policy(run_dir: str | Path, step: int | None = None, env: envs.BoxEnv | None = None) -> NumpyPolicy:
    """The policy of a run's newest checkpoint, or an exported one, as a function of NumPy arrays.

        action = policy(observation)          at the zero latent, which is not the density's mode
        action = policy(observation, key)     sampled; `key` is a NumPy generator, a seed or a JAX key

    observation f32[..., S], or as the environment gives it, -> action [..., A] within the environment's bounds, of its
    own dtype, and of its own shape where that is none of a vector. Runs no code from the folder.

    Args:
      run_dir: a run; one without checkpoints that has an exported policy in it, such as those in `runs/published`; or
        an exported policy's folder.
      step: which checkpoint of a run, by its environment step.
      env: the run's environment, whose sizes and bounds are read; without, one is made where they are needed.

    Raises:
      ConfigError: neither a run nor an exported folder.
      CheckpointError: a run without a checkpoint that can be used.
    """
    exported = exported_folder(Path(run_dir))
    if exported is None:
        return to_numpy(load_actor(Path(run_dir), step, env))
    if step is not None:
        raise ConfigError(f"--step={step}: {run_dir} has no checkpoints, only a policy that was exported")
    policy = _read(exported)
    sizes = policy.observation_dim, policy.action_dim
    if env is not None and (own := envs.spec_of(env)[:2]) != sizes:
        raise ConfigError(f"{exported} is a policy of {sizes} observations and actions, and {env.name} has {own}")
    return policy


def _read(exported: Path) -> NumpyPolicy:
    try:
        return numpy_policy.load(exported)
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise ConfigError(f"{exported} holds no policy that can be read: {error}") from error


def exported_folder(run_dir: Path) -> Path | None:
    """Where the exported policy lies that speaks for `run_dir`; None where a checkpoint does, or nothing."""
    if checkpoint.steps(run_dir / "checkpoints"):
        return None
    return next((each for each in (run_dir, run_dir / POLICY) if (each / "policy.json").exists()), None)


def task_of(run_dir: Path) -> Config:
    """A configuration with the environment of a run or of an exported policy. Raises ConfigError."""
    exported = exported_folder(run_dir)
    if exported is None:
        return read_config(run_dir)
    description = _read(exported).description
    return dataclasses.replace(Config(), env=description["env"], env_kwargs=description["env_kwargs"])


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
    parser.add_argument(
        "--publish", type=Path, metavar="DIR",
        help="write a finished run into a small folder to share: configuration, evaluations, metrics, layers, policy",
    )  # fmt: skip
    return parser


def _export(options: argparse.Namespace) -> int:
    out, here = options.out or options.run / POLICY, Path.cwd()
    if options.publish:
        if options.out or options.step is not None:
            raise ConfigError("--publish takes neither --out nor --step: it shares a run as it ended")
        publishing.check(options.run, options.publish)
    exported = exported_folder(options.run)
    if exported is None:
        actor = load_actor(here / options.run, options.step)  # which an environment may take elsewhere
        difference = save(actor, here / out)
        print(f"lsp: policy of step {actor.step:,} in {out}: NumPy and StableHLO differ by at most {difference:.1e}")
    elif not options.publish:
        raise ConfigError(f"{options.run} has no checkpoint to export; its policy is exported already, in {exported}")
    return _publish(here / options.run, options.publish, here) if options.publish else 0


def _publish(run_dir: Path, out: Path, root: Path) -> int:
    for note in publishing.publish(run_dir, root / out, root):
        print(f"lsp: note: {note}")
    size = sum(path.stat().st_size for path in (root / out).rglob("*") if path.is_file())
    print(f"lsp: published in {out}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
