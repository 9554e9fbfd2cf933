"""An episode under a run's newest checkpoint: return distributions as its critics predict them, and what followed."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from lsp import envs
from lsp.agents import support
from lsp.agents.critics.categorical import make_support
from lsp.agents.learner import ActorParams
from lsp.agents.sac_lsp import Prediction, make_predictor
from lsp.config import ConfigError
from lsp.report.looks import COLORS, dress
from lsp.storage.checkpoint import CheckpointError
from lsp.storage.run_folder import read_config
from lsp.training.loading import load_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_STEPS, SEED = 5_000, 12_345
SEEN = 1e-3  # probability of an atom that the picture must have room for


class Played(NamedTuple):
    """An episode of T steps; distributions are of the soft return, in scaled reward."""

    env: str
    step: int  # of the checkpoint
    support: np.ndarray  # [N]
    probs: np.ndarray  # [T, N] of the atoms, by the first critic
    means: np.ndarray  # [T]
    returns: np.ndarray  # [T] discounted, entropy costs counted as the critics' targets count them
    terminated: bool  # else the returns continue after the last step with its predicted mean


def play(run_dir: Path) -> Played:
    """Play one episode with the sampled policy of the newest checkpoint. Raises ConfigError."""
    config = read_config(run_dir)
    if config.critic.kind != "categorical" or config.critic.distribution_target == "as_written":
        rule = "--distributions needs critics that predict distributions, a run of --agent=categorical"
        raise ConfigError(f"{run_dir}: {rule}")
    run_dir = run_dir.absolute()  # an environment may change the working folder
    with closing(envs.make_env(config)) as env:
        try:
            run = load_run(run_dir, env=env)
        except CheckpointError as error:
            raise ConfigError(str(error)) from error
        actor = run.state.actor
        predict = jax.jit(make_predictor(run.recipe.config, run.spec, run.stage.layers))
        steps, terminated = _episode(env, predict, actor, run.spec.action_dim)
    outputs, costs, rewards = (np.array(column, np.float64) for column in zip(*steps, strict=True))
    unit = float(support.scale(actor))  # in which the critics count
    costs, rewards = unit * costs, unit * rewards
    atoms = unit * np.asarray(make_support(run.recipe.config.critic), np.float64)
    probs = np.asarray(jax.nn.softmax(outputs.astype(np.float32)))
    means = probs @ atoms
    last = 0.0 if terminated else float(means[-1])
    followed = returns(rewards, costs, config.gamma, config.n_step, last)
    return Played(config.env, run.step, atoms, probs, means, followed, terminated)


def _episode(
    env: envs.BoxEnv, predict: Callable[..., Prediction], actor: ActorParams, action_dim: int
) -> tuple[list[tuple[np.ndarray, ...]], bool]:
    """The first critic's outputs, entropy cost and scaled reward of every step; whether the task ended the episode."""
    rng = np.random.default_rng(SEED)
    observation, _ = env.reset(seed=SEED)
    steps: list[tuple[np.ndarray, ...]] = []
    terminated = False
    for _ in range(MAX_STEPS):
        latent = rng.normal(size=action_dim).astype(np.float32)
        said = jax.device_get(predict(actor, np.asarray(observation, np.float32), latent))
        observation, reward, terminated, truncated, _ = env.step(said.env_action)
        steps.append((said.outputs[0], said.entropy_cost, np.asarray(reward * said.reward_factor)))
        if terminated or truncated:
            break
    return steps, bool(terminated)


def returns(rewards: np.ndarray, costs: np.ndarray, gamma: float, n_step: int, last: float) -> np.ndarray:
    """Soft returns from every step on, [T], as n-step targets count them.

        G_t = sum_k gamma^k r_{t+k} - sum_{k = n, 2n, ...} gamma^k cost_{t+k}

    After the last step they continue with `last`: the return that is expected after a time limit, 0 after termination.
    """
    steps = len(rewards)
    plain, entropy = np.empty(steps + 1), np.zeros(steps + n_step)
    plain[steps] = last
    for t in reversed(range(steps)):
        plain[t] = rewards[t] + gamma * plain[t + 1]
        cost = costs[t + n_step] if t + n_step < steps else 0.0
        entropy[t] = gamma**n_step * (cost + entropy[t + n_step])
    return plain[:steps] - entropy[:steps]


def summary(played: Played) -> str:
    """In a line, how far predictions are from what followed."""
    error = played.means - played.returns
    cdf = np.cumsum(played.probs, axis=-1)
    low, high = (played.support[np.argmax(cdf >= level, axis=-1)] for level in (0.05, 0.95))
    inside = np.mean((played.returns >= low) & (played.returns <= high))
    return (
        f"{played.env}, checkpoint at step {played.step:,}, {len(error)} steps: "
        f"predicted mean {played.means.mean():.1f}, followed {played.returns.mean():.1f}, bias {error.mean():+.1f}, "
        f"mean error {np.abs(error).mean():.1f}; {inside:.0%} of returns inside the predicted 5 to 95 %"
    )


def draw(played: Played) -> "Figure":
    """Densities as shades, their mean and the returns that followed as lines, over the steps of the episode."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    atoms, steps = played.support, np.arange(len(played.means) + 1)
    edges = np.concatenate([atoms[:1], (atoms[:-1] + atoms[1:]) / 2, atoms[-1:]])
    densities = played.probs / np.diff(edges)
    shades = axes.pcolormesh(
        steps - 0.5, edges, densities.T, vmin=0.0, vmax=full_shade(densities), rasterized=True,
        cmap=LinearSegmentedColormap.from_list("shades", ("white", COLORS[5], COLORS[0])),
    )  # fmt: skip
    figure.colorbar(shades, label="probability density of the return", extend="max")
    axes.plot(played.means, color=COLORS[6], lw=1.0, label="predicted mean")
    ending = "" if played.terminated else ", continued as predicted after the time limit"
    axes.plot(played.returns, color=COLORS[1], lw=1.6, label=f"return that followed{ending}")
    seen = played.probs.max(axis=0) > SEEN
    low, high = atoms[seen].min(), atoms[seen].max()
    axes.set_ylim(min(low, played.returns.min()), max(high, played.returns.max()))
    dress(axes, f"{played.env}, step {played.step:,}", "step of the episode", "discounted soft return")
    axes.grid(visible=False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9.5)
    return figure


def full_shade(densities: np.ndarray) -> float:
    """The density that gets the full shade: half of the steps have a peak above it, [T, N].

    So a few steps at which the return is certain do not make all others invisible.
    """
    return float(np.quantile(densities.max(axis=-1), 0.5))
