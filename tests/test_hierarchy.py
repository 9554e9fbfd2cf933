"""Stacks of layers: bijections whose log-determinants add up."""

from functools import lru_cache
from typing import NamedTuple

import jax
import numpy as np
import pytest

from lsp import normalizers
from lsp.flows import make_real_nvp
from lsp.hierarchy import Frozen, decode, encode, freeze, grow
from lsp.types import Flow, Params
from tests.support.builders import FLOWS, random_params

ROWS, OBSERVATION_DIM, ACTION_DIM = 32, 4, 3


class Stack(NamedTuple):
    """Flows and parameters, bottom first, with inputs of the stack."""

    flows: list[Flow]
    layers: list[Params]
    latent: np.ndarray
    observation: np.ndarray


@lru_cache
def stack(depth: int) -> Stack:
    """Layers differ in parameters and in depth, so that a wrong order cannot pass."""
    rng = np.random.default_rng(depth)
    flows = [
        make_real_nvp(OBSERVATION_DIM, ACTION_DIM, **FLOWS["modern"], num_couplings=2 + i % 2) for i in range(depth)
    ]
    layers = [random_params(flow.init, rng, scale=0.7) for flow in flows]
    return Stack(flows, layers, rng.normal(size=(ROWS, ACTION_DIM)), rng.normal(size=(ROWS, OBSERVATION_DIM)))


def round_trip_error(s: Stack) -> np.ndarray:
    """|encode(decode(h)) - h| in units of 1 + |h|; the two log-determinants must cancel."""

    @jax.jit
    def law(layers: list[Params], latent: jax.Array, observation: jax.Array) -> tuple[jax.Array, ...]:
        action, log_det = decode(s.flows, layers, latent, observation)
        latent_again, inverse_log_det = encode(s.flows, layers, action, observation)
        return latent_again, log_det + inverse_log_det

    latent_again, total = law(s.layers, s.latent, s.observation)
    np.testing.assert_allclose(total, 0, atol=1e-10 if latent_again.dtype == np.float64 else 1e-3)
    return np.abs(latent_again - s.latent) / (1 + np.linalg.norm(s.latent, axis=-1, keepdims=True))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("depth", range(1, 9))
def test_encode_inverts_decode(depth: int) -> None:
    assert np.max(round_trip_error(stack(depth))) < 1e-10


@pytest.mark.parametrize(("depth", "bound"), [(1, 1e-5), (2, 1e-5), (4, 1e-4), (8, 1e-3)])
def test_single_precision_error_grows_slowly_with_depth(depth: int, bound: float) -> None:
    assert np.max(round_trip_error(stack(depth))) < bound


@pytest.mark.usefixtures("x64")
def test_log_det_is_that_of_the_composed_map() -> None:
    s = stack(3)

    def composed(latent: jax.Array, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        return decode(s.flows, s.layers, latent, observation)

    jacobian, log_det = jax.jit(jax.vmap(jax.jacfwd(composed, has_aux=True)))(s.latent, s.observation)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-9)


@pytest.mark.usefixtures("x64")
def test_the_first_layer_is_at_the_bottom() -> None:
    s = stack(2)
    bottom, top = s.flows
    middle, top_log_det = jax.jit(top.forward_and_log_det)(s.layers[1], s.latent, s.observation)
    expected, bottom_log_det = jax.jit(bottom.forward_and_log_det)(s.layers[0], middle, s.observation)
    action, log_det = jax.jit(decode, static_argnums=0)(tuple(s.flows), s.layers, s.latent, s.observation)
    np.testing.assert_allclose(action, expected, rtol=1e-12)
    np.testing.assert_allclose(log_det, top_log_det + bottom_log_det, rtol=1e-12)


def test_growing_layer_by_layer_makes_the_stack() -> None:
    """Of layers that were trained on observations as they are, the grown stack decodes as the plain one."""
    s = stack(3)
    flows: tuple[Flow, ...] = ()
    layers: tuple[Params, ...] = ()
    for flow, params in zip(s.flows, s.layers, strict=True):
        frozen = Frozen(params, normalizers.init((OBSERVATION_DIM,)))
        flows, layers = grow(flows, layers, freeze(flow, OBSERVATION_DIM, normalized=False), frozen)
    grown = jax.jit(decode, static_argnums=0)(flows, layers, s.latent, s.observation)
    plain = jax.jit(decode, static_argnums=0)(tuple(s.flows), s.layers, s.latent, s.observation)
    jax.tree.map(np.testing.assert_array_equal, grown, plain)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3)])
def test_an_empty_stack_is_the_identity(shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    for function in (decode, encode):
        result, log_det = function([], [], values, np.zeros((*shape[:-1], 2)))
        np.testing.assert_array_equal(result, values)
        np.testing.assert_array_equal(log_det, np.zeros(shape[:-1]))


@pytest.mark.parametrize("function", [decode, encode])
def test_flows_and_layers_must_pair_up(function: object) -> None:
    s = stack(2)
    with pytest.raises(ValueError, match="zip"):
        function(s.flows, [], s.latent, s.observation)
