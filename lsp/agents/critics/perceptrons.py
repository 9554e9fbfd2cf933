"""Q and V as multilayer perceptrons without a state: the ensembles of the kinds that `lsp` ships."""

from functools import partial
from typing import Any

from lsp import networks
from lsp.agents.critics.protocol import Ensemble
from lsp.config import CriticConfig
from lsp.types import Array, Params


def make_perceptrons(
    config: CriticConfig,
    num_outputs: int,
    initial_output: tuple[float, ...] | None = None,
    output_scale: float = 1.0,
) -> tuple[Ensemble, Ensemble]:
    """The ensembles of Q and of V.

    Args:
      config: how many Q functions, and their sizes.
      num_outputs: N, of each function.
      initial_output: outputs [N] of a new network, whatever its input; None: as its last layer is drawn.
      output_scale: outputs are this times the networks' last layers.
    """
    sizes, norm = config.hidden_sizes, config.layer_norm
    critic, value = (
        networks.ValueEnsemble(count, sizes, num_outputs, norm, initial_output, output_scale)
        for count in (config.count, 1)
    )
    return stateless(critic), stateless(value)


def stateless(network: networks.ValueEnsemble) -> Ensemble:
    """An ensemble that is the same in training as elsewhere and keeps nothing beside its parameters."""
    return Ensemble(
        init=network.init,
        init_state=lambda params, *examples: (),
        apply=partial(_apply, network),
        train=lambda params, state, *inputs: (_apply(network, params, state, *inputs), state),
        map_outputs=network.map_outputs,
    )


def _apply(network: networks.ValueEnsemble, params: Params, state: Any, *inputs: Array) -> Array:
    del state
    outputs: Array = network.apply(params, *inputs)
    return outputs
