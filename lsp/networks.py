"""Flax modules: multilayer perceptrons, coupling conditioners and critic ensembles."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Initializer = Callable[..., jax.Array]

XAVIER = nn.initializers.xavier_uniform()
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"relu": nn.relu, "tanh": jnp.tanh}


def bias_init(std: float) -> Initializer:
    """Initializer of biases: N(0, std^2), zeros where `std` is 0."""
    return nn.initializers.normal(std) if std > 0 else nn.initializers.zeros


class MLP(nn.Module):
    """Dense layers with an activation after each, [..., I] -> [..., sizes[-1]]."""

    sizes: Sequence[int]
    activation: str = "relu"
    bias_std: float = 0.0
    activate_last: bool = True

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Apply the layers; the last one is linear unless `activate_last`."""
        hidden = inputs
        for i, size in enumerate(self.sizes):
            hidden = nn.Dense(size, kernel_init=XAVIER, bias_init=bias_init(self.bias_std))(hidden)
            if self.activate_last or i + 1 < len(self.sizes):
                hidden = ACTIVATIONS[self.activation](hidden)
        return hidden


class Conditioner(nn.Module):
    """Parameters of a coupling's bijector, from the half that it leaves alone and the observation's embedding.

        [untouched, embedding] -> hidden layers -> one array [..., N_j] for each of `outputs`

    `separate_nets` computes each output by a network of its own, as SAC-LSP's released code does for shift and
    log-scale; else they share hidden layers. `zero_init` zeroes the last layer, and with it all outputs.
    """

    outputs: tuple[tuple[str, int], ...]  # names, and how many numbers N_j
    hidden_sizes: Sequence[int]
    activation: str = "relu"
    separate_nets: bool = False
    zero_init: bool = True
    bias_std: float = 0.0

    @nn.compact
    def __call__(self, untouched: jax.Array, embedding: jax.Array) -> tuple[jax.Array, ...]:
        """Return the outputs, in their order."""
        inputs = jnp.concatenate([untouched, embedding], axis=-1)
        if self.separate_nets:
            return tuple(self._net(inputs, size, name) for name, size in self.outputs)
        *ends, total = accumulate(size for _, size in self.outputs)
        return tuple(jnp.split(self._net(inputs, total, "both"), ends, axis=-1))

    def _net(self, inputs: jax.Array, num_outputs: int, name: str) -> jax.Array:
        hidden = MLP(self.hidden_sizes, self.activation, self.bias_std, name=f"{name}_hidden")(inputs)
        kernel = nn.initializers.zeros if self.zero_init else XAVIER
        bias = nn.initializers.zeros if self.zero_init else bias_init(self.bias_std)
        return nn.Dense(num_outputs, kernel_init=kernel, bias_init=bias, name=f"{name}_out")(hidden)


@jax.custom_vjp
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """Normalize over the last axis, [..., H] -> [..., H].

        y = (x - mean(x)) / sqrt(var(x) + 1e-6),     result y * scale + bias

    Sums over H are dot products with a constant vector, forward and backward: on CPU, XLA's own reductions along the
    last axis are several times slower, and with them this layer cost a fifth of an update.

    Numerics: the variance is mean(x^2) - mean(x)^2, cut off at 0, as in Flax. Gradients in reverse mode only.
    Source: Ba et al. (2016), arXiv 1607.06450, Eq. 4.
    """
    return _layer_norm_forward(x, scale, bias)[0]


def _mean(x: jax.Array) -> jax.Array:
    """Mean over the last axis, kept: [..., H] -> [..., 1]."""
    weights = jnp.full(x.shape[-1], 1.0 / x.shape[-1], x.dtype)
    return jnp.matmul(x, weights, precision="highest")[..., None]


def _layer_norm_forward(x: jax.Array, scale: jax.Array, bias: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    mean = _mean(x)
    inverse_std = jax.lax.rsqrt(jnp.maximum(_mean(x * x) - mean * mean, 0.0) + 1e-6)
    y = (x - mean) * inverse_std
    return y * jnp.broadcast_to(scale, x.shape) + jnp.broadcast_to(bias, x.shape), (y, inverse_std, scale)


def _layer_norm_backward(
    residuals: tuple[jax.Array, ...], gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    y, inverse_std, scale = residuals
    dy = gradient * jnp.broadcast_to(scale, y.shape)
    dx = (dy - _mean(dy) - y * _mean(dy * y)) * inverse_std
    batch_axes = tuple(range(y.ndim - 1))
    return dx, jnp.sum(gradient * y, axis=batch_axes), jnp.sum(gradient, axis=batch_axes)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


class LayerNorm(nn.Module):
    """`layer_norm` with a learned scale and bias."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it over the last axis."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        return layer_norm(x, scale, self.param("bias", nn.initializers.zeros, x.shape[-1:]))


class ValueEnsemble(nn.Module):
    """K independent value functions of one or more inputs, [..., I_j] -> [K, ..., N].

    The first layers of all members are one matrix an input, [I_j, K*H], so that members share one dot product, and the
    part that reads the observation is computed once where an update evaluates Q at two actions of it. The initializer's
    fan-in is each input's own width, as in SAC-LSP's released code.
    """

    count: int
    hidden_sizes: Sequence[int]
    num_outputs: int = 1
    layer_norm: bool = True
    initial_output: tuple[float, ...] | None = None  # of every member, whatever its input: a zero kernel and a bias
    output_scale: float = 1.0  # outputs are this times those of the last layer

    @nn.compact
    def __call__(self, *inputs: jax.Array) -> jax.Array:
        """Evaluate every member on `inputs`."""
        width = self.hidden_sizes[0]
        bias = self.param("first_bias", nn.initializers.zeros, (self.count * width,))
        first = jnp.broadcast_to(bias, (*inputs[0].shape[:-1], self.count * width))
        for i, x in enumerate(inputs):
            kernel = self.param(f"first_kernel_{i}", _stacked_xavier(self.count), (x.shape[-1], self.count * width))
            first = first + x @ kernel
        # split, not slices: the gradient of slices is a sum of padded copies of the whole.
        members = jnp.split(first, self.count, axis=-1)
        return jnp.stack([self._member(k, member) for k, member in enumerate(members)])

    def map_outputs(
        self, params: Any, kernel: Callable[[jax.Array], jax.Array], bias: Callable[[jax.Array], jax.Array]
    ) -> Any:
        """`params` with kernel [H, N] and bias [N] of every member's outputs replaced by what they map to."""
        layers, scale = dict(params["params"]), self.output_scale
        for k in range(self.count):
            name = f"dense_{k}_{len(self.hidden_sizes) - 1}"
            scaled = {part: scale * value for part, value in layers[name].items()}
            layers[name] = {"kernel": kernel(scaled["kernel"]) / scale, "bias": bias(scaled["bias"]) / scale}
        return {"params": layers}

    def _member(self, k: int, hidden: jax.Array) -> jax.Array:
        for i, size in enumerate((*self.hidden_sizes[1:], None)):
            if self.layer_norm:
                hidden = LayerNorm(name=f"norm_{k}_{i}")(hidden)
            hidden = nn.relu(hidden)
            features = self.num_outputs if size is None else size
            kernel, bias = XAVIER, nn.initializers.zeros
            if size is None and self.initial_output is not None:
                kernel, bias = nn.initializers.zeros, _constant([x / self.output_scale for x in self.initial_output])
            scale = self.output_scale if size is None else 1.0
            hidden = ScaledDense(features, scale, kernel, bias, name=f"dense_{k}_{i}")(hidden)
        return hidden


class ScaledDense(nn.Module):
    """x @ (scale * kernel) + scale * bias, [..., I] -> [..., features]; scaling what comes out would cost more."""

    features: int
    scale: float
    kernel_init: Initializer
    bias_init: Initializer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        bias = self.param("bias", self.bias_init, (self.features,))
        product = x @ (self.scale * kernel)
        return product + jnp.broadcast_to(self.scale * bias, product.shape)


def _constant(values: Sequence[float]) -> Initializer:
    return lambda key, shape, dtype=jnp.float32: jnp.asarray(values, dtype)


def _stacked_xavier(count: int) -> Initializer:
    """Xavier-uniform for `count` matrices side by side: the fan-out is that of one of them."""

    def init(key: jax.Array, shape: tuple[int, int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        rows, columns = shape
        blocks = [XAVIER(k, (rows, columns // count), dtype) for k in jax.random.split(key, count)]
        return jnp.concatenate(blocks, axis=-1)

    return init
