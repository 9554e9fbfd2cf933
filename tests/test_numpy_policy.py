"""The NumPy policy is the flow that the agent acts with, whatever its kind, and stands on NumPy alone."""

import ast
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import hierarchy, numpy_policy
from lsp.config import FlowConfig
from lsp.flows import make_real_nvp, registry
from lsp.numpy_policy import NumpyPolicy
from lsp.types import EnvSpec
from tests.support.builders import FLOWS, random_params

S = 3


def named(tree: Any, prefix: str) -> dict[str, np.ndarray]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {name: leaf for key, sub in tree.items() for name, leaf in named(sub, f"{prefix}/{key}").items()}


def make(kind: str, action_dim: int, rng: np.random.Generator, layers: int = 1, **more: Any) -> tuple[Any, ...]:
    """A real-NVP, its layers' parameters, and the NumPy policy of them, whose bounds are -1 and 1.

    Described as by versions whose flows were of one kind, for what they exported still loads.
    """
    options = FLOWS[kind] | {"num_couplings": 3} | more
    flow = make_real_nvp(S, action_dim, **options)
    stack = [random_params(flow.init, rng) for _ in range(layers)]
    layer = {
        "observation_dim": S,
        "num_couplings": 3,
        "activation": options.get("activation", "relu"),
        "separate_nets": options.get("separate_nets", False),
        "max_log_scale": str(options.get("max_log_scale", 2.0)),
        "embedding_activate_last": options.get("embedding_activate_last", True),
    }
    description = {
        "format": 1, "observation_dim": S, "action_dim": action_dim,
        "low": [-1.0] * action_dim, "high": [1.0] * action_dim,
        "layers": [layer] * layers,
    }  # fmt: skip
    weights = {name: leaf for i, params in enumerate(stack) for name, leaf in named(params, str(i)).items()}
    return flow, stack, NumpyPolicy(description, weights)


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize(("action_dim", "activate_last"), [(1, True), (3, False)])
def test_equals_the_flow(kind: str, action_dim: int, activate_last: bool, rng: np.random.Generator) -> None:
    """Two layers, the second on top of the first; also from the lower layer's own latent."""
    flow, (bottom, top), policy = make(kind, action_dim, rng, layers=2, embedding_activate_last=activate_last)
    s = rng.normal(size=(5, S)).astype(np.float32)
    latent = rng.normal(size=(5, action_dim)).astype(np.float32)
    middle, _ = flow.forward_and_log_det(top, latent, s)
    action, _ = flow.forward_and_log_det(bottom, middle, s)
    np.testing.assert_allclose(policy.squashed(s, latent), np.tanh(action), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(policy.squashed(s, middle, layer=0), np.tanh(action), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(policy.at_latent(s[0], latent[0]), np.tanh(action)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"separate_nets": True, "max_log_scale": math.inf, "linear_embedding": True}])
@pytest.mark.parametrize("action_dim", [1, 3])
def test_equals_a_spline_on_a_real_nvp(action_dim: int, options: dict[str, Any], rng: np.random.Generator) -> None:
    """And beyond the spline's interval."""
    bottom, top = (
        FlowConfig(kind=kind, hidden_sizes=(8,), embedding_sizes=(8, 4), tail_bound=2.0, num_bins=4, **options)
        for kind in ("real_nvp", "spline")
    )
    spec = EnvSpec(S, action_dim)
    flows = [registry.make_flow(config, spec) for config in (bottom, top)]
    stack = [random_params(flow.init, rng) for flow in flows]
    description = {
        "format": 1, "observation_dim": S, "action_dim": action_dim,
        "low": [-1.0] * action_dim, "high": [1.0] * action_dim,
        "layers": [{"observation_dim": S, **registry.describe(config)} for config in (bottom, top)],
    }  # fmt: skip
    weights = {name: leaf for i, params in enumerate(stack) for name, leaf in named(params, str(i)).items()}
    policy = NumpyPolicy(json.loads(json.dumps(description)), weights)
    s = rng.normal(size=(40, S)).astype(np.float32)
    latent = rng.normal(0.0, 2.0, (40, action_dim)).astype(np.float32)
    assert np.any(np.abs(latent) > 2)
    action, _ = hierarchy.decode(flows, stack, latent, s)
    np.testing.assert_allclose(policy.squashed(s, latent), np.tanh(action), rtol=1e-4, atol=1e-5)
    assert policy.squashed(s, latent).dtype == np.float32


def test_an_unknown_kind_is_named(rng: np.random.Generator) -> None:
    _, _, policy = make("modern", 2, rng)
    (layer,) = policy.description["layers"]
    with pytest.raises(ValueError, match="a layer's flow is of kind glow, this file has real_nvp, spline"):
        NumpyPolicy(policy.description | {"layers": [layer | {"kind": "glow"}]}, policy.weights)


def test_bounds_and_statistics(rng: np.random.Generator) -> None:
    _, _, policy = make("modern", 2, rng)
    s, latent = rng.normal(size=(4, S)), rng.normal(size=(4, 2))
    wide = NumpyPolicy(policy.description | {"low": [-3.0, 0.0], "high": [3.0, 1.0]}, policy.weights)
    unit = policy.squashed(s, latent)
    np.testing.assert_allclose(
        wide.at_latent(s, latent), np.stack([3 * unit[:, 0], (unit[:, 1] + 1) / 2], 1), rtol=1e-5
    )
    assert (np.abs(wide.at_latent(s, 1e6 * latent)) <= 3).all()
    stats = {"0/observation/mean": np.ones(S, np.float32), "0/observation/std": np.full(S, 2, np.float32)}
    normalizing = NumpyPolicy(policy.description, policy.weights | stats)
    np.testing.assert_allclose(normalizing.squashed(2 * s + 1, latent), unit, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(normalizing.squashed(1e6 + 0 * s, latent), normalizing.squashed(21 + 0 * s, latent))


@pytest.mark.parametrize(("dtype", "shape"), [("float64", (2,)), ("float32", (1, 2)), ("float16", (2, 1))])
def test_bounds_of_their_own_type_and_shape(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    _, _, policy = make("modern", 2, rng)
    bounds = {"low": np.full(shape, -0.1, dtype), "high": np.full(shape, 0.7, dtype)}
    lists = {name: bound.tolist() for name, bound in bounds.items()}
    own = NumpyPolicy(json.loads(json.dumps(policy.description | lists | {"dtype": dtype})), policy.weights)
    for size in (1.0, 1e6):
        actions = own.at_latent(rng.normal(size=(4, 5, S)), size * rng.normal(size=(4, 5, 2)))
        assert actions.shape == (4, 5, *shape)
        assert actions.dtype == dtype
        assert (actions >= bounds["low"]).all()
        assert (actions <= bounds["high"]).all()
    assert own(np.zeros(S)).shape == shape


@pytest.mark.parametrize(
    ("parts", "own"),
    [
        ([{"path": [], "shape": [3]}], lambda s: s),
        ([{"path": [], "shape": [3, 1]}], lambda s: s[..., None]),
        (
            [{"path": ["b"], "shape": [2]}, {"path": ["a", "x"], "shape": []}],
            lambda s: {"b": s[..., :2], "a": {"x": s[..., 2]}},
        ),
        ([{"path": [0], "shape": [1, 2]}, {"path": [1], "shape": [1]}], lambda s: (s[..., None, :2], s[..., 2:])),
    ],
    ids=["vector", "column", "dict", "tuple"],
)
def test_observations_as_the_environment_gives_them(parts: Any, own: Any, rng: np.random.Generator) -> None:
    _, _, plain = make("modern", 2, rng)
    policy = NumpyPolicy(plain.description | {"observation": parts}, plain.weights)
    for s in (rng.normal(size=S), rng.normal(size=(4, S)), rng.normal(size=(2, 5, S))):
        np.testing.assert_array_equal(policy(own(s)), plain(s))
        np.testing.assert_array_equal(policy(s), plain(s))


def test_a_dict_that_numbers_cannot_be_read_from(rng: np.random.Generator) -> None:
    _, _, policy = make("modern", 2, rng)
    with pytest.raises(ValueError, match="flatten makes it a vector"):
        policy({"gear": 1})


def test_keys(rng: np.random.Generator) -> None:
    _, _, policy = make("modern", 2, rng)
    s = rng.normal(size=S)
    np.testing.assert_array_equal(policy(s), policy.at_latent(s, np.zeros(2)))
    np.testing.assert_array_equal(policy(s, 3), policy(s, np.random.default_rng(3)))
    assert not np.allclose(policy(s, 3), policy(s, 4))
    for kind in (jax.random.key, jax.random.PRNGKey):
        np.testing.assert_array_equal(policy(s, kind(3)), policy(s, kind(3)))
        assert not np.allclose(policy(s, kind(3)), policy(s, kind(4)))
    np.testing.assert_array_equal(policy(s, jax.random.key(3)), policy(s, jax.random.PRNGKey(3)))
    for seed in (np.int64(3), np.array(3), jnp.int32(3), [3], np.random.SeedSequence(3)):
        np.testing.assert_array_equal(policy(s, seed), policy(s, 3))
    assert policy(np.zeros((2, 5, S)), rng).shape == (2, 5, 2)
    with pytest.raises(ValueError, match="last axis must be 3"):
        policy(np.zeros(2))


def test_loads_without_code(tmp_path: Path, rng: np.random.Generator) -> None:
    _, _, policy = make("modern", 2, rng)
    (tmp_path / "policy.json").write_text(json.dumps(policy.description))
    np.savez(tmp_path / "weights.npz", allow_pickle=False, **policy.weights)
    np.testing.assert_array_equal(numpy_policy.load(tmp_path)(np.ones(S), 0), policy(np.ones(S), 0))
    np.savez(tmp_path / "weights.npz", evil=np.array([print], object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        numpy_policy.load(tmp_path)
    (tmp_path / "policy.json").write_text(json.dumps(policy.description | {"format": 2}))
    np.savez(tmp_path / "weights.npz", allow_pickle=False, **policy.weights)
    with pytest.raises(ValueError, match="format 2"):
        numpy_policy.load(tmp_path)


def test_imports_numpy_alone() -> None:
    tree = ast.parse(Path(numpy_policy.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"json", "sys", "numpy", "collections.abc", "pathlib", "typing"}
