"""Frozen layers: rebuilt from their description, deaf to the running normalizer, refused where they do not fit."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from lsp import hierarchy
from lsp.agents import stack
from lsp.agents.stack import Layer
from lsp.config import ConfigError, FlowConfig, dissertation
from lsp.flows.registry import make_flow
from lsp.hierarchy import Frozen
from lsp.types import EnvSpec, Transition
from tests.support.builders import SPEC, tiny_config
from tests.support.layers import make_layer

CONFIG = tiny_config().flow
SPLINE = dataclasses.replace(CONFIG, kind="spline", num_bins=4)


@pytest.mark.parametrize("normalized", [True, False])
def test_a_frozen_layer_is_the_flow_at_the_observation_of_its_training(normalized: bool) -> None:
    """Of a longer observation it sees the first numbers."""
    layer, rng = make_layer(normalized=normalized), np.random.default_rng(3)
    flow = make_flow(CONFIG, SPEC)
    shapes = jax.eval_shape(flow.init, jax.random.key(0))
    _, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes))
    latent, raw = rng.normal(size=(5, 2)).astype(np.float32), rng.normal(size=(5, 4)).astype(np.float32)
    s = raw[:, :3]
    if normalized:
        s = (s - [1, -2, 0.5]) / [2, 0.5, 1]
    frozen = stack.frozen_flow(CONFIG, SPEC, normalized)
    expected = jax.jit(flow.forward_and_log_det)(unravel(layer.values.params), latent, s.astype(np.float32))
    found = jax.jit(frozen.forward_and_log_det)(layer.values, latent, raw)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)
    again = jax.jit(frozen.inverse_and_log_det)(layer.values, found[0], raw)[0]
    np.testing.assert_allclose(again, latent, atol=1e-5)


def test_a_frozen_layer_passes_gradients_on_and_takes_none() -> None:
    layer = make_layer()
    frozen = stack.frozen_flow(CONFIG, SPEC, normalized=True)

    def loss(values: Frozen, latent: jax.Array, s: jax.Array) -> jax.Array:
        action, log_det = frozen.forward_and_log_det(values, latent, s)
        return (action**2).sum() + log_det.sum()

    values, latent = jax.jit(jax.grad(loss, (0, 1)))(layer.values, np.ones((2, 2), np.float32), np.ones((2, 3)))
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(values))
    assert np.all(latent != 0)


@pytest.mark.parametrize("config", [CONFIG, dissertation(tiny_config()).flow, SPLINE])
def test_a_description_is_json_and_rebuilds_the_layer(config: FlowConfig) -> None:
    layer = Layer(config, SPEC, False, make_layer().values)
    rebuilt = stack.from_description(json.loads(json.dumps(stack.describe(layer), allow_nan=False)))
    assert rebuilt[:3] == layer[:3]
    init = stack.frozen_flow(config, SPEC, normalized=False).init
    shapes = jax.eval_shape(init, jax.random.key(0))
    assert jax.tree.map(np.shape, rebuilt.values) == jax.tree.map(np.shape, shapes)


def test_layers_of_older_versions_are_real_nvps() -> None:
    """Written before there were kinds."""
    record = stack.describe(make_layer())
    for name in ("kind", "num_bins", "tail_bound"):
        del record["flow"][name]
    assert stack.from_description(record)[:3] == make_layer()[:3]


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [(SPLINE, CONFIG), (CONFIG, SPLINE), (SPLINE, SPLINE)])
def test_layers_of_any_kinds_stack(kinds: tuple[FlowConfig, FlowConfig], rng: np.random.Generator) -> None:
    """Decoded and encoded; and rows of the lower one are read as the upper one's, to within what encoding allows."""
    layers = [make_layer(seed, config) for seed, config in enumerate(kinds)]
    flows, values = stack.flows_of(layers), tuple(layer.values for layer in layers)
    latent, s = rng.normal(size=(9, 2)).astype(np.float32), rng.normal(size=(9, 3)).astype(np.float32)
    some = np.zeros(9, np.float32)

    @jax.jit
    def there_and_back(values: tuple[Frozen, ...]) -> tuple[jax.Array, ...]:
        u, log_det = hierarchy.decode(flows, values, latent, s)
        again, inverse_log_det = hierarchy.encode(flows, values, u, s)
        action, _ = flows[1].forward_and_log_det(values[1], latent, s)
        rows, usable = stack.make_encode(8.0, layers)(values, Transition(s, action, some, some, s))
        return log_det, again, inverse_log_det, rows.action, usable

    log_det, again, inverse_log_det, encoded, usable = there_and_back(values)
    np.testing.assert_allclose(again, latent, atol=1e-3)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-2)
    np.testing.assert_allclose(encoded, latent, atol=1e-3)
    assert np.all(usable)


def test_rows_are_encoded_through_the_last_layer_alone() -> None:
    layers = [make_layer(seed) for seed in range(2)]
    flows, rng = stack.flows_of(layers), np.random.default_rng(4)
    latent = rng.normal(size=(6, 2)).astype(np.float32)
    latent[3] = 40.0
    s, some = rng.normal(size=(6, 3)).astype(np.float32), np.zeros(6, np.float32)

    @jax.jit
    def there_and_back(values: tuple[Frozen, ...]) -> tuple[Transition, jax.Array]:
        action, _ = flows[1].forward_and_log_det(values[1], latent, s)
        broken = action.at[5].set(np.nan)
        return stack.make_encode(8.0, layers)(values, Transition(s, broken, some, some, s))

    rows, usable = there_and_back(tuple(layer.values for layer in layers))
    np.testing.assert_array_equal(usable, [True, True, True, False, True, False])
    np.testing.assert_allclose(rows.action, np.where(usable[:, None], latent, 0), atol=1e-4)
    np.testing.assert_array_equal(rows.observation, s)


@pytest.mark.parametrize(
    ("spec", "prefix", "message"),
    [
        (EnvSpec(3, 4), True, "x: its layers have 2 actions and this environment has 4: choose layers of"),
        (EnvSpec(2, 2), True, "x: its layers see observations of 3 numbers and this environment has 2: choose"),
        (EnvSpec(5, 2), False, "or let them see the first ones with --growth.prefix-observation"),
    ],
)
def test_layers_that_do_not_fit_are_refused(spec: EnvSpec, prefix: bool, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        stack.check([make_layer()], spec, prefix, "x")
    assert message in str(caught.value)
    stack.check([make_layer()], SPEC, False, "x")
    stack.check([make_layer()], EnvSpec(5, 2), True, "x")
