"""Names that flags have elsewhere: in Stable-Baselines3, CleanRL, SBX, RLlib and scripts of the field. No JAX here.

The command line looks here after a flag that it does not know, and a test sees that whatever is named here exists.
"""

from collections.abc import Iterable
from typing import NamedTuple

from lsp.config.schema import flag, one_of

ROWS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    # How long, on what, with which agent.
    ("total_timesteps total_steps timesteps num_timesteps n_timesteps max_timesteps", ("steps",), ""),
    ("total_env_steps num_env_steps max_steps train_steps num_train_steps frames", ("steps",), ""),
    ("n_steps num_steps", ("steps", "n_step"), "of the whole run, or of one return"),
    ("nstep multi_step n_step_return", ("n_step",), ""),
    ("env_id env_name environment task gym_id domain", ("env",), ""),
    ("env_config env_args", ("env_kwargs",), "as JSON"),
    ("algo algorithm alg model", ("agent",), ""),
    ("num_seeds n_seeds", ("seeds",), ""),
    ("n_envs num_envs num_env num_actors", ("executors.count",), "environments that are stepped together"),
    ("num_workers n_workers num_env_runners n_cpu", ("executors.workers", "executors.count"), "see --executors.engine"),
    # Learning.
    ("lr", ("policy.learning_rate", "critic.learning_rate", "temperature.learning_rate"), ""),
    ("policy_lr actor_lr pi_lr actor_learning_rate", ("policy.learning_rate",), ""),
    ("q_lr qf_lr critic_lr vf_lr critic_learning_rate", ("critic.learning_rate",), ""),
    ("alpha_lr temp_lr ent_lr", ("temperature.learning_rate",), ""),
    ("buffer_size replay_size replay_buffer_size memory_size", ("replay.capacity",), ""),
    ("batch minibatch_size train_batch_size", ("replay.batch_size",), ""),
    ("gradient_steps train_freq train_frequency utd_ratio", ("utd",), "updates per environment step"),
    ("updates_per_step update_every update_frequency", ("utd",), "updates per environment step"),
    ("update_after min_replay_size learning_start", ("learning_starts",), ""),
    ("start_steps start_timesteps random_steps exploration_steps", ("warmup_steps",), "of random actions"),
    ("discount discount_factor", ("gamma",), ""),
    ("polyak target_update_rate soft_update_tau", ("critic.tau",), ""),
    ("ent_coef entropy_coef alpha init_temperature", ("temperature.initial",), "fixed with --no-temperature.learned"),
    ("autotune auto_alpha automatic_entropy_tuning", ("temperature.learned",), ""),
    ("target_entropy target_entropy_scale", ("temperature.target_entropy_per_dim",), ""),
    ("policy policy_kwargs net_arch hidden_dim hidden_dims", ("critic.hidden_sizes", "flow.hidden_sizes"), ""),
    ("n_critics num_critics num_qs ensemble_size", ("critic.count",), ""),
    ("n_atoms", ("critic.num_atoms",), ""),
    ("normalize_obs norm_obs obs_norm", ("normalize.observations",), ""),
    ("normalize_reward norm_reward reward_norm", ("normalize.rewards",), ""),
    ("per use_per prioritized_replay", ("replay.kind",), "such as prioritized"),
    ("her use_her", ("goals.kind",), "such as hindsight"),
    ("policy_frequency policy_delay target_network_frequency", (), "every update is of critics, targets and policy"),
    ("n_epochs update_epochs num_minibatches rollout_length", (), "that is of PPO; agents here learn from replay"),
    ("gae_lambda clip_coef clip_range vf_coef norm_adv", (), "that is of PPO; agents here learn from replay"),
    # What is evaluated, written and shown.
    ("eval_freq eval_interval eval_every evaluation_interval", ("evaluation.every",), ""),
    ("n_eval_episodes num_eval_episodes eval_episodes", ("evaluation.episodes",), ""),
    ("log_interval log_freq log_frequency", ("log_every",), ""),
    ("wandb use_wandb", ("track",), "such as --track=wandb"),
    ("wandb_project_name wandb_project wandb_entity", ("track",), "with the variables WANDB_PROJECT and WANDB_ENTITY"),
    ("tensorboard tensorboard_log logger", ("track",), "such as --track=tensorboard"),
    ("save_freq save_interval save_every checkpoint_freq", ("checkpoint_every",), ""),
    ("save_model", ("checkpoint_every",), "a run always saves how it ends"),
    ("exp_name experiment_name run_name", ("name",), ""),
    ("log_dir logdir output_dir save_dir out_dir workdir", ("runs_dir", "name"), ""),
    ("load load_run checkpoint load_checkpoint restore continue resume_from", ("resume",), ""),
    ("capture_video record_video save_video render video", (), "python -m lsp.video RUN films a run, now or later"),
    ("upload_model hf_entity", (), "python -m lsp.export RUN writes the policy to a folder of its own"),
    ("verbose progress progress_bar quiet silent", (), "a run shows its progress; 2>/dev/null hides it"),
    ("config config_file config_path", (), "python -m lsp.grid --name=NAME @FILE reads flags from a file, one a line"),
    ("device cuda gpu use_gpu cpu torch_deterministic", (), "JAX takes a GPU if it finds one; JAX_PLATFORMS=cpu, as an "
     "environment variable, chooses"),
)  # fmt: skip
"""Names elsewhere, the fields that are meant or come nearest, and a remark; best known first, where it matters."""


class Habit(NamedTuple):
    """What there is instead of a name from elsewhere."""

    fields: tuple[str, ...]  # dotted names
    remark: str


HABITS = {name: Habit(fields, remark) for names, fields, remark in ROWS for name in names.split()}
"""By the name elsewhere, `_` for `-`."""


def hint(name: str) -> str:
    """What to type instead of `name` (such as `total_timesteps` or `critic.lr`), in words; empty where nobody knows."""
    group, _, leaf = name.removeprefix("no_").rpartition(".")
    habit = HABITS.get(leaf)
    if habit is None:
        return ""
    if not habit.fields:
        return habit.remark
    of_group = [field for field in habit.fields if group and field.startswith(f"{group}.")]
    remark = f" ({habit.remark})" if habit.remark else ""
    return f"here it is {_flags(of_group or habit.fields)}{remark}"


def _flags(fields: Iterable[str]) -> str:
    return one_of([flag(field) for field in fields])
