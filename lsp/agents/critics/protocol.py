"""What a kind of critics is: two ensembles of value functions, and a head that says what their outputs mean.

Axes: K critics, B batch, S observation, A action, N outputs. Every function is pure.

A kind may keep a `State` beside its trained parameters, for each ensemble: any pytree of arrays, such as running
statistics or a second copy of the parameters; `()` where there is nothing. It is part of the learner's state
(`ActorParams.critic_states`): whoever evaluates critics passes it, an update replaces it by what the critics' losses
return, and no gradient flows to it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from lsp.types import Array, Params

State = Any  # of an ensemble; opaque to everyone else
Target = Any  # what `Head.target` gives to `Head.loss`; opaque to everyone else
Metrics = dict[str, Array]


class Ensemble(NamedTuple):
    """K value functions of one or more inputs [..., I_j], as pure functions."""

    init: Callable[..., Params]  # key, an example of each input [I_j]
    init_state: Callable[..., State]  # the new parameters, the examples
    apply: Callable[..., Array]  # parameters, state, inputs -> outputs [K, ..., N]: for targets, policy and ranking
    train: Callable[..., tuple[Array, State]]  # the same for the critics' own loss on a batch; also the next state
    # parameters, functions of the output layers' kernels [H, N] and biases [N] -> parameters; where `Head.widens`
    map_outputs: Callable[[Params, Callable[[Array], Array], Callable[[Array], Array]], Params] | None = None


class Fit(NamedTuple):
    """How well outputs fit their targets. Only `loss` has a gradient; the two kinds of metrics are for people."""

    loss: Array  # f32[]
    priorities: Array  # f32[B] size of the TD error, averaged over critics, in the critics' unit; or a divergence, nats
    state: State  # of the ensemble, after this update
    metrics: Metrics  # without a unit, or in nats
    returns: Metrics  # metrics in the critics' unit of return
    edge_mass: Array | None = None  # f32[] mean probability on the support's first and last atom; where `Head.widens`


class Head(NamedTuple):
    """How to read, bootstrap and fit outputs."""

    values: Callable[[Array], Array]  # outputs [K, B, N] -> expected soft return [K, B]
    target: Callable[[Array, Array, Array, Array], Target]  # next outputs [K, B, N], reward, discount, entropy cost [B]
    loss: Callable[[State, Array, Target, Array], Fit]  # state, outputs [K, B, N], target, weights [B]
    value_loss: Callable[[Array, Array, Array, Array], Array]  # outputs of V [B, N] and Q [K, B, N], cost, weights [B]
    # Whether outputs are on a support that widens itself (`lsp.agents.support`). A state cannot depend on its atoms.
    widens: bool = False


class Critics(NamedTuple):
    """A kind of critics, as a configuration asks for it."""

    head: Head
    critic: Ensemble  # Q, K functions of observation [..., S] and action [..., A]
    value: Ensemble  # V, one function of the observation; in use with `--critic.value-network`
