"""Networks against plain loops, and the distributions they start from."""

import math
from typing import Any

import jax
import numpy as np
import pytest

from lsp.networks import MLP, Conditioner, ValueEnsemble, layer_norm
from tests.support import reference
from tests.support.builders import random_params

ROWS = 4


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_mlp_equals_the_plain_loop(activation: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(ROWS, 3)).astype(np.float32)
    net = MLP((5, 2), activation)
    params = random_params(lambda key: net.init(key, x)["params"], rng)
    expected = [reference.mlp(params, row, activation) for row in x]
    np.testing.assert_allclose(jax.jit(net.apply)({"params": params}, x), expected, atol=1e-6)
    linear = MLP((5, 2), activation, activate_last=False)
    expected = [reference.dense(params["Dense_1"], reference.mlp({"Dense_0": params["Dense_0"]}, x[0], activation))]
    np.testing.assert_allclose(jax.jit(linear.apply)({"params": params}, x[:1]), expected, atol=1e-6)


@pytest.mark.parametrize("separate_nets", [False, True])
def test_conditioner_of_a_fresh_layer(separate_nets: bool, key: jax.Array) -> None:
    """Zeros where asked; else each bias drawn with its standard deviation and shift unlike log-scale."""
    untouched, embedding = np.ones((ROWS, 2), np.float32), np.ones((ROWS, 3), np.float32)

    def outputs(zero_init: bool, bias_std: float) -> tuple[np.ndarray, np.ndarray]:
        net = Conditioner((("shift", 400), ("log_scale", 400)), (6,), "tanh", separate_nets, zero_init, bias_std)
        return jax.jit(lambda key: net.init_with_output(key, untouched, embedding)[0])(key)

    for zeros in outputs(True, 1.0):
        np.testing.assert_array_equal(zeros, np.zeros((ROWS, 400)))
    shift, log_scale = outputs(False, 5.0)
    assert shift.shape == log_scale.shape == (ROWS, 400)
    assert np.abs(np.corrcoef(shift[0], log_scale[0])[0, 1]) < 0.3
    # Hidden units are below 1 and output kernels small, so that biases make most of the spread.
    assert 4.0 < np.std(shift[0]) < 6.5


def test_separate_nets_share_nothing(rng: np.random.Generator) -> None:
    """The shift's gradient reaches no parameter of the log-scale, and reaches half of the shared net's output."""
    untouched, embedding = rng.normal(size=(ROWS, 2)), rng.normal(size=(ROWS, 3))
    for separate in (True, False):
        net = Conditioner((("shift", 2), ("log_scale", 2)), (6,), separate_nets=separate)
        params = random_params(lambda key, net=net: net.init(key, untouched, embedding)["params"], rng)
        gradient = jax.jit(jax.grad(lambda p, net=net: net.apply({"params": p}, untouched, embedding)[0].sum()))(params)
        names = {name for name, tree in gradient.items() if any(np.any(leaf) for leaf in jax.tree.leaves(tree))}
        assert names == ({"shift_hidden", "shift_out"} if separate else {"both_hidden", "both_out"})


def test_outputs_of_many_sizes_are_those_of_one_row(rng: np.random.Generator) -> None:
    untouched, embedding = rng.normal(size=(ROWS, 2)), rng.normal(size=(ROWS, 3))
    whole, parts = Conditioner((("all", 6),), (5,)), Conditioner((("a", 3), ("b", 1), ("c", 2)), (5,))
    params = random_params(lambda key: whole.init(key, untouched, embedding)["params"], rng)
    (row,) = whole.apply({"params": params}, untouched, embedding)
    found = parts.apply({"params": params}, untouched, embedding)
    assert [part.shape for part in found] == [(ROWS, 3), (ROWS, 1), (ROWS, 2)]
    np.testing.assert_array_equal(np.concatenate(found, axis=-1), row)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("hidden_sizes", [[7], [7, 5]])
def test_ensemble_equals_one_network_a_member(
    hidden_sizes: list[int], layer_norm: bool, rng: np.random.Generator
) -> None:
    observation, action = rng.normal(size=(ROWS, 3)), rng.normal(size=(ROWS, 2))
    net = ValueEnsemble(3, hidden_sizes, num_outputs=2, layer_norm=layer_norm)
    params = random_params(lambda key: net.init(key, observation, action)["params"], rng)
    values = jax.jit(net.apply)({"params": params}, observation, action)
    assert values.shape == (3, ROWS, 2)
    for k in range(3):
        for b in range(ROWS):
            expected = reference.value_member(params, k, [observation[b], action[b]], hidden_sizes, layer_norm)
            np.testing.assert_allclose(values[k, b], expected, atol=1e-5)


def test_ensemble_members_start_differently_with_their_own_fan(key: jax.Array) -> None:
    """Xavier-uniform over each input's own width: bound sqrt(6 / (fan-in + H))."""
    net = ValueEnsemble(2, (300,))
    params = jax.jit(net.init)(key, np.ones(30, np.float32), np.ones(6, np.float32))["params"]
    for name, fan_in in (("first_kernel_0", 30), ("first_kernel_1", 6)):
        bound = math.sqrt(6 / (fan_in + 300))
        assert 0.98 * bound < np.max(np.abs(params[name])) <= bound
        assert not np.any(params[name][:, :300] == params[name][:, 300:])
    assert np.all(params["first_bias"] == 0)


def test_leading_axes_are_free(rng: np.random.Generator) -> None:
    observation, action = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 2))
    net = ValueEnsemble(2, (5,))
    params = random_params(lambda key: net.init(key, observation, action)["params"], rng)
    apply = jax.jit(lambda s, a: net.apply({"params": params}, s, a))
    values = apply(observation, action)
    assert values.shape == (2, 2, 3, 1)
    np.testing.assert_allclose(values[:, 1, 2], apply(observation[1, 2], action[1, 2]), atol=1e-6)


@pytest.mark.usefixtures("x64")
def test_layer_norm_and_its_gradients_equal_the_formula(rng: np.random.Generator) -> None:
    """Against reductions that JAX differentiates by itself."""
    x, gradient = rng.normal(2.0, 3.0, size=(2, 3, ROWS, 7))
    scale, bias = rng.normal(size=(2, 7))

    def plain(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
        y = (x - x.mean(-1, keepdims=True)) / (x.var(-1, keepdims=True) + 1e-6) ** 0.5
        return y * scale[None, None] + bias[None, None]

    ours, expected = (jax.vjp(function, x, scale, bias) for function in (layer_norm, plain))
    np.testing.assert_allclose(ours[0], expected[0], atol=1e-9)
    for a, b in zip(ours[1](gradient), expected[1](gradient), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_layer_norm_of_equal_numbers_is_its_bias() -> None:
    """Rounding must not make the variance negative."""
    x = np.full((ROWS, 128), 1e4 / 3, np.float32)
    y, pull = jax.vjp(lambda x: layer_norm(x, np.full(128, 2.0, np.float32), np.full(128, 0.5, np.float32)), x)
    assert np.all(np.isfinite(y))
    assert np.all(np.isfinite(pull(y)[0]))


def test_an_output_scale_is_a_smaller_step_of_the_last_layer(rng: np.random.Generator, key: jax.Array) -> None:
    """The same first outputs and gradients below, a tenth of the last layer's; `map_outputs` sees what comes out."""
    x = rng.normal(size=(ROWS, 3)).astype(np.float32)
    nets = [ValueEnsemble(2, (4,), 3, True, (-1.0, 0.0, -2.0), scale) for scale in (1.0, 0.1)]
    for net in nets:
        np.testing.assert_allclose(
            jax.jit(lambda key, net=net: net.init_with_output(key, x)[0])(key),
            np.broadcast_to([-1.0, 0.0, -2.0], (2, ROWS, 3)),
            rtol=1e-6,
        )
    plain = random_params(lambda key: nets[0].init(key, x)["params"], rng)
    scaled = plain | {name: jax.tree.map(lambda leaf: leaf / 0.1, plain[name]) for name in plain if "dense" in name}
    trees = [{"params": plain}, {"params": scaled}]

    def value_and_gradients(net: ValueEnsemble, tree: Any) -> Any:
        return jax.jit(jax.value_and_grad(lambda tree: (net.apply(tree, x) ** 2).sum()))(tree)

    (value, wide), (same, narrow) = (value_and_gradients(*pair) for pair in zip(nets, trees, strict=True))
    np.testing.assert_allclose(same, value, rtol=1e-5)
    np.testing.assert_allclose(narrow["params"]["first_kernel_0"], wide["params"]["first_kernel_0"], rtol=1e-4)
    np.testing.assert_allclose(
        narrow["params"]["dense_0_0"]["kernel"], 0.1 * wide["params"]["dense_0_0"]["kernel"], rtol=1e-4
    )
    outputs = [
        net.apply(net.map_outputs(tree, lambda kernel: 2 * kernel, lambda bias: bias + 3), x)
        for net, tree in zip(nets, trees, strict=True)
    ]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)
