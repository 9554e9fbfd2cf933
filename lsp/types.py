"""The records and contracts of `lsp`. Reading this file teaches the architecture; `docs/architecture.md` draws it.

Axes, everywhere: B batch, S observation, A action, G goal, K critics, N atoms, C capacity, E executors, W numbers of a
packed transition (`lsp.packing`), n transitions of a chunk. Leading axes written `...` are free. All state is a pytree
of arrays. Keys are arguments and are never stored.

Functions named here are pure and bare, so that a notebook may choose how to transform them. Training is compiled (jit,
donation, vmap, pmap) by `lsp.training.device` through `lsp.training.transforms` and nowhere else. Only acting outside
of it has a plain jit of its own: evaluation, the policy of asynchronous workers, latent environments, the report's
distributions, export.

An algorithm is a bundle of functions: `Agent` learns, `Replay` remembers, `Flow` maps latents to actions and back.
A `Recipe` is what a configuration builds, and `Executors` are where experience comes from.

From the bottom up; each imports only what stands above it in this list:

    types       these records and contracts
    config      the configuration: dataclasses, what they may hold, names of kinds; no JAX
    losses, categorical, networks, normalizers, packing, xla      formulas and modules: functions of arrays
    flows       bijections by kind, their densities; `hierarchy` stacks them
    replay      memories by kind: ring, sum-tree, hindsight
    agents      SAC-LSP, its critics by kind, frozen layers; one short file an extension
    storage     what a run leaves on disk: checkpoints, frozen layers, metrics
    envs        environments by name, the shipped tasks, latents as actions
    executors   stepping environments: in this process, in others, on a Ray cluster
    training    the loop over the seeds of a run: device, seed, loop, train, session; growth, evaluation, endings
    cli, commands        flags and exit statuses
    api         `lsp.train`, `lsp.load` and the `Run` that both return
    run, report, grid, export, video                               commands: `python -m lsp.NAME`
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    import jax

    from lsp.config import StageConfig

    Array = jax.Array
    Key = jax.Array
else:  # an executor's process needs these records, and starts sooner without JAX
    Array = Key = Any
Params = Any  # a pytree of arrays
State = Any  # an agent's state, opaque to everyone else
ReplayState = Any


class GoalTask(NamedTuple):
    """How a task evaluates goals. Its functions take arrays with any leading axes, NumPy's and JAX's alike."""

    dim: int  # G, numbers in a goal
    reward: Callable[[Any, Any, Any], Any]  # goal achieved by the step [..., G], goal [..., G], env's reward [...]
    terminated: Callable[[Any, Any], Any]  # whether achieving [..., G] with goal [..., G] ends the episode, bool[...]
    on_host: bool = False  # whether the functions are the environment's own, which take NumPy arrays only
    max_episode_steps: int | None = None  # the time limit, if there is one
    beside: bool = False  # whether steps may have a reward beside that of their goal; transitions then hold it
    replaces: bool = False  # whether `reward` is what is learned from under every goal, in place of the env's reward


class EnvSpec(NamedTuple):
    """What an agent needs to know of an environment.

    The observation of a task with goals is flat as well: what it observes and then the goal, S numbers in all.
    """

    observation_dim: int  # S
    action_dim: int  # A, each in [-1, 1]
    goals: GoalTask | None = None


class Transition(NamedTuple):
    """One step of experience, as replay holds it: raw, unscaled, unnormalized."""

    observation: Array  # f32[..., S]
    action: Array  # f32[..., A] output of the layer in training; bottom layer: the action before tanh
    reward: Array  # f32[...]    raw environment reward; n-step: the discounted sum of n of them
    discount: Array  # f32[...]    gamma**n; 0 only where the task truly terminated, never at a time limit
    next_observation: Array  # f32[..., S] the true successor, never the first observation after a reset
    outcome: Array | None = None  # f32[..., G + 2] of tasks with goals: goal achieved, step in its episode, failure
    beside: Array | None = None  # f32[...] where `GoalTask.beside`: the part of the reward that no goal changes


class Batch(NamedTuple):
    """Transitions drawn from replay."""

    transitions: Transition  # leading axis [B]
    indices: Array  # i32[B] slots in the replay
    weights: Array  # f32[B] importance weights; ones under uniform replay
    policy_observation: Array | None = None  # f32[B, S] states of the policy loss; None: those of `transitions`
    policy_weights: Array | None = None  # f32[B] importance weights of those states; None: `weights`


class ActionSample(NamedTuple):
    """An action in the two spaces that matter."""

    env_action: Array | np.ndarray  # f32[..., A] what the environment receives, in [-1, 1]
    layer_action: Array | np.ndarray  # f32[..., A] what replay stores


class UpdateInfo(NamedTuple):
    """What an update reports. `metrics` are never read back: deleting them changes nothing."""

    priorities: Array  # f32[B] new priorities of the batch's transitions
    metrics: dict[str, Array]  # scalars


class Agent(NamedTuple):
    """A learner as pure functions."""

    init: Callable[[Key], State]
    observe: Callable[[State, Transition, Array], State]  # fold in a new chunk [n, ...] and its returns so far [n]
    actor_params: Callable[[State], Params]  # what an executor needs, and no more
    act: Callable[[Params, Array, Key], ActionSample]
    act_mode: Callable[[Params, Array], ActionSample]  # latent at zero (not the density's mode)
    act_latent: Callable[[Params, Array, Array], ActionSample]  # at a given latent of the top layer
    act_random: Callable[[Params, Array, Key], ActionSample]  # environment action uniform in (-1, 1): the warm-up
    update: Callable[[State, Batch, Key], tuple[State, UpdateInfo]]
    priority: Callable[[Params, Transition, Key], Array]  # f32[n], of new transitions; from what `actor_params` gives
    # Transitions [n, ...] collected under the layer below -> the same for this layer, and which can be used, bool[n].
    encode: Callable[[Params, Transition], tuple[Transition, Array]] | None = None  # None: there is no layer below


class Replay(NamedTuple):
    """A replay memory as pure functions."""

    init: Callable[[Transition], ReplayState]  # from one example transition, no leading axis
    add: Callable[[ReplayState, Transition, Array], ReplayState]  # chunk [n, ...], priorities f32[n]; inf: the maximum
    sample: Callable[[ReplayState, Key], Batch]
    update_priorities: Callable[[ReplayState, Array, Array], ReplayState]
    size: Callable[[ReplayState], Array]  # i32[]
    dump: Callable[[ReplayState, int], Any]  # for a checkpoint: the pytree cut down to its `size` filled slots
    load: Callable[[Any], ReplayState]  # inverse of `dump`
    metrics: Callable[[ReplayState, Batch], dict[str, Array]]  # what a person needs to trust the sampling
    refused: Callable[[ReplayState], Array]  # i32[] priorities so far that were not finite: a learner that diverged
    ranks_new: bool = False  # whether `add` wants the TD errors of new transitions; else the caller gives it inf


class Flow(NamedTuple):
    """A bijection between latents and actions, conditioned on the observation."""

    init: Callable[[Key], Params]
    forward_and_log_det: Callable[[Params, Array, Array], tuple[Array, Array]]  # latent, observation -> action, log-det
    inverse_and_log_det: Callable[[Params, Array, Array], tuple[Array, Array]]  # action, observation -> latent, log-det
    action_dim: int


class Recipe(NamedTuple):
    """What a configuration builds."""

    agent: Agent
    replay: Replay
    config: "StageConfig"  # as the layer in training has it


class Episode(NamedTuple):
    """A finished episode of collection or evaluation."""

    episode_return: float  # undiscounted sum of raw rewards
    length: int  # environment steps
    terminated: bool  # true where the task ended it, False at a time limit
    info: dict[str, float]  # of each scalar `info` term, such as forward speed, the mean over the steps that said it
    success: float | None = None  # 1 where it met the task when it last said so, 0 where not; None: it never said
    layer_return: float | None = None  # sum of the rewards of `--layer-rewards`; None where they were the raw ones
    motionless: float | None = None  # share of its steps without motion (`lsp.executors.stillness`); None: not known
    stuck: bool | None = None  # whether `--truncate-stuck` ended it; None where that is off, and in evaluation


class Chunk(NamedTuple):
    """What one step of all executors gives the learner, as NumPy arrays: a packed transition each (`lsp.packing`)."""

    packed: np.ndarray  # f32[E, W]; with n-step returns the oldest transition of each executor that is complete
    returns: np.ndarray  # f32[E] discounted return so far in each episode: for the reward normalizer
    observations: np.ndarray  # f32[E, S] what to act on next
    complete: bool  # False in the first n-1 steps of a run, while n-step returns accumulate: `packed` is then empty
    episodes: Sequence[Episode]  # those that ended in this step
    origins: np.ndarray  # i64[E, 3] of each transition: executor, its incarnation, its number there; no two are equal


class RolloutRequest(NamedTuple):
    """What the learner asks of an asynchronous worker: its next transitions, and how to act for them."""

    leaves: list[np.ndarray] | None  # of what `Agent.actor_params` gives, where newer than those sent before
    version: int  # of those parameters: updates that went into them
    random: bool  # act uniformly


class Rollout(NamedTuple):
    """What an asynchronous worker gives the learner, as NumPy arrays: n transitions, equally many of each executor."""

    packed: np.ndarray  # f32[n, W] packed transitions
    returns: np.ndarray  # f32[n] discounted return so far in each episode
    priorities: np.ndarray  # f32[n] what `Agent.priority` says of the transitions under the worker's parameters
    origins: np.ndarray  # i64[n, 3] as of a `Chunk`
    version: int  # of the parameters that acted
    episodes: Sequence[Episode]  # those that ended meanwhile


Choose = Callable[[np.ndarray], ActionSample]
"""Observations f32[E, S] -> actions for them."""


class Executors(Protocol):
    """Where experience comes from."""

    spec: EnvSpec

    def set_chooser(self, choose: Choose) -> None:
        """Whom to ask for actions where an episode began that the caller of `step` could not know of."""

    def reset(self) -> np.ndarray:
        """Start every environment; first observations, f32[E, S]."""

    def step(self, actions: ActionSample) -> Chunk:
        """Step every environment once, with actions f32[E, A] each."""

    def set_reward(self, reward: str) -> None:
        """Reward steps as `--layer-rewards` says of a layer, from now on; n-step returns start again."""

    def stats(self) -> dict[str, int]:
        """What a line of metrics should say of faults since the start; nothing where there can be none."""

    def get_state(self) -> dict[str, Any]:
        """Everything needed to continue exactly, as nested dicts of NumPy arrays and JSON values."""

    def new_episodes(self, step: int) -> dict[str, Any]:
        """After a fault, at environment step `step`, what `set_state` needs to begin new episodes; asks nobody."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`'s result."""

    def close(self) -> None:
        """Release environments and processes."""
