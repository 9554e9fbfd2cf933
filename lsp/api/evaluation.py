"""Evaluating a run's policy again: the evaluator of training, on episodes of one's own choice."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from lsp import envs, export
from lsp.config import Config, ConfigError, schema
from lsp.config.schema import Count, Natural
from lsp.envs.given import Given, lend
from lsp.storage import metrics
from lsp.storage.checkpoint import CheckpointError
from lsp.training.device import Stream, stream_key
from lsp.training.evaluate import Evaluator
from lsp.training.loading import load_run
from lsp.training.results import Evaluation
from lsp.training.run import env_seeds
from lsp.types import Params
from lsp.video import PROTOCOLS


def evaluate(
    folder: Path, config: Config, given: Given | None, episodes: int, protocol: str, seed: int | None
) -> Evaluation:
    """Episodes of the policy of a run, or of an exported one, in the environment of `config`.

    Raises:
      ConfigError: an argument, or an environment that does not fit the policy.
      CheckpointError: a run without a checkpoint that can be used.
      EnvironmentFault: of the environment.
    """
    protocol = schema.choose("protocol", protocol, {each: each for each in PROTOCOLS})
    episodes = schema.convert("episodes", episodes, Count)
    if seed is not None:
        config = replace(config, seed=schema.convert("seed", seed, Natural))
    seeds = env_seeds(config, "evaluate", episodes)
    with lend(given):
        spare = [envs.make_env(config)]

        def make_env() -> envs.BoxEnv:
            return spare.pop() if spare else envs.make_env(config)

        evaluator = Evaluator(make_env, (protocol,), seeds, config.evaluation.max_episode_steps)
        with closing(evaluator), closing(spare[0]):
            params, step = _load(folder, evaluator, spare[0])
            key = stream_key(jax.random.key(config.seed), Stream.EVALUATE, step)
            says = _says_success(folder)
            if given is None or not given.single:
                (record,) = evaluator(params, key, says)
            else:  # the same one for an episode after the other
                each = (evaluator.reseeded([one]) for one in seeds)
                keys = jax.random.split(key, episodes)
                record = _joined([of_one(params, keys[i], says)[0] for i, of_one in enumerate(each)])
    return Evaluation.of({"step": step} | record, config.seed)


def _load(folder: Path, evaluator: Evaluator, env: envs.BoxEnv) -> tuple[Params, int]:
    """Let the policy be evaluated; its parameters and its step."""
    if export.exported_folder(folder) is not None:
        policy = export.load_policy(folder, env=env)
        evaluator.evaluate_exported(policy.squashed)
        return None, policy.description["step"]
    try:
        loaded = load_run(folder, env=env)
    except CheckpointError as error:
        if "the checkpoint has" not in str(error):
            raise
        sizes = envs.spec_of(env)
        has = f"{sizes.observation_dim} observations and {sizes.action_dim} actions"
        what = f"environment {env.name} has {has}, which is not what the policy of {folder} was trained on"
        raise ConfigError(what) from error
    evaluator.evaluate(loaded.recipe.agent)
    return loaded.actor_params(), loaded.step


def _says_success(folder: Path) -> bool:
    """Whether any evaluation of the run so far said if the task was met: then silence means that it was not."""
    path = folder / "eval.jsonl"
    return path.exists() and any("success" in record for record in metrics.read(path))


def _joined(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Records of one episode each as one."""
    names = dict.fromkeys(name for record in records for name, value in record.items() if isinstance(value, list))
    lists = {name: [record.get(name, [None])[0] for record in records] for name in names}
    if "success" in lists:
        lists["success"] = [met or 0.0 for met in lists["success"]]
    return {**records[0], **lists, "cut": sum(record.get("cut", 0) for record in records)}
