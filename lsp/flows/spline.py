"""Conditional neural spline flows: couplings by monotone rational-quadratic splines.

Durkan et al. (2019), arXiv 1906.04032, Section 3.1, "RQ-NSF (C)" without its linear layers.
"""

from typing import Any

import distrax
import jax.numpy as jnp

from lsp.config import FlowConfig
from lsp.flows import coupling
from lsp.types import Array, Flow

# Least width and height of a bin, as a share of [-b, b], and least slope at a knot; Durkan et al. took the same.
MIN_BIN_SHARE = MIN_SLOPE = 1e-3


def make(config: FlowConfig, observation_dim: int, action_dim: int) -> Flow:
    """Spline couplings: each bends every dimension of one half, given the other half and the observation.

    In bin k, with z in [0, 1] the position in it, w_k its width, h_k its height, r = h_k / w_k and d the slopes at the
    knots (Eq. 4):

        y = y_k + h_k (r z^2 + d_k z (1-z)) / (r + (d_k + d_{k+1} - 2r) z (1-z))

    Widths and heights are a softmax of a network's outputs and add up to 2b, from -b to b; inner slopes are their
    softplus; the slopes at -b and b are 1. So the map takes [-b, b] to itself and is the identity outside, with a
    continuous derivative everywhere. Zero outputs are the identity.

    Numerics: outputs are bounded as m*tanh(x/m) where `max_log_scale` m is finite. With m = 2 and 8 bins log|dy/dx| is
    in [-11.3, 5.8], and an action gives its latent back to 0.005 in single precision; with outputs free it may be
    -15, and the latent is lost. In any case bins are at least 0.002 b wide and high, and slopes at knots at least
    0.001. The identity at zero outputs holds up to rounding.
    """
    bound, sizes = config.tail_bound, _outputs(config)

    def spline(*outputs: Array) -> distrax.Bijector:
        widths, heights, slopes = (
            coupling.bounded(part, config.max_log_scale).reshape(*part.shape[:-1], -1, size)
            for part, size in zip(outputs, sizes.values(), strict=True)
        )
        # distrax wants slopes at -b and b too, and replaces them by 1.
        slopes = jnp.pad(slopes, [(0, 0)] * (slopes.ndim - 1) + [(1, 1)])
        return distrax.RationalQuadraticSpline(
            jnp.concatenate([widths, heights, slopes], axis=-1),
            range_min=-bound,
            range_max=bound,
            boundary_slopes="identity",
            min_bin_size=MIN_BIN_SHARE * 2 * bound,
            min_knot_slope=MIN_SLOPE,
        )

    return coupling.make_flow(config, observation_dim, action_dim, sizes, spline)


def describe(config: FlowConfig) -> dict[str, Any]:
    """The options that `lsp.numpy_policy` needs, as JSON values."""
    return coupling.describe(config, _outputs(config)) | {
        "tail_bound": config.tail_bound,
        "min_bin_share": MIN_BIN_SHARE,
        "min_slope": MIN_SLOPE,
    }


def _outputs(config: FlowConfig) -> dict[str, int]:
    """Numbers that describe the spline of one dimension."""
    return {"widths": config.num_bins, "heights": config.num_bins, "slopes": config.num_bins - 1}
