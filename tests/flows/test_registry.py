"""Every kind of flow in the registry: a bijection, the identity at first, evaluated alike by NumPy."""

import dataclasses
import json
from typing import Any

import jax
import numpy as np
import pytest

from lsp import numpy_policy
from lsp.config import Config, ConfigError, FlowConfig, from_dict, to_dict, validate
from lsp.flows import registry
from lsp.types import EnvSpec
from tests.support.builders import random_params

SPEC = EnvSpec(observation_dim=3, action_dim=2)
KINDS = pytest.mark.parametrize("kind", registry.FLOWS)


def config_of(kind: str, **options: Any) -> FlowConfig:
    return FlowConfig(kind=kind, hidden_sizes=(4,), embedding_sizes=(4,), **options)


@KINDS
def test_a_kind_is_a_bijection(kind: str, rng: np.random.Generator) -> None:
    flow = registry.make_flow(config_of(kind, zero_init=False), SPEC)
    params = random_params(flow.init, rng)
    latent, s = rng.normal(size=(9, 2)).astype(np.float32), rng.normal(size=(9, 3)).astype(np.float32)
    action, log_det = jax.jit(flow.forward_and_log_det)(params, latent, s)
    again, inverse_log_det = jax.jit(flow.inverse_and_log_det)(params, action, s)
    assert np.all(np.any(action != latent, axis=-1))
    np.testing.assert_allclose(again, latent, atol=1e-4)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-3)


@KINDS
def test_a_kind_starts_as_the_identity(kind: str, key: jax.Array, rng: np.random.Generator) -> None:
    """So that a new layer leaves the policy as it is."""
    flow = registry.make_flow(config_of(kind), SPEC)
    latent, s = rng.normal(size=(9, 2)).astype(np.float32), rng.normal(size=(9, 3)).astype(np.float32)
    action, log_det = jax.jit(lambda key: flow.forward_and_log_det(flow.init(key), latent, s))(key)
    np.testing.assert_allclose(action, latent, atol=2e-6)
    np.testing.assert_allclose(log_det, 0.0, atol=5e-6)


@KINDS
def test_a_kind_has_a_numpy_twin(kind: str) -> None:
    description = registry.describe(config_of(kind, max_log_scale=float("inf")))
    assert json.loads(json.dumps(description, allow_nan=False)) == description
    assert description["kind"] == kind
    assert kind in numpy_policy.KINDS


def test_choices_are_the_registry_s() -> None:
    with pytest.raises(ConfigError, match=r"--flow.kind=splines: must be real_nvp or spline; did you mean spline\?"):
        from_dict(to_dict(Config()) | {"flow.kind": "splines"})
    for kind in registry.FLOWS:
        assert validate(dataclasses.replace(Config(), flow=FlowConfig(kind=kind))).flow.kind == kind
    with pytest.raises(ConfigError, match=r"--flow.num-bins=1: must be a whole number from 2"):
        validate(dataclasses.replace(Config(), flow=FlowConfig(kind="spline", num_bins=1)))
