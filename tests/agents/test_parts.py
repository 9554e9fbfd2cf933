"""The parts of an agent: what is trained, what is averaged, and how large it is."""

import jax
import pytest

from lsp.agents.parts import bootstrap_name, make_parts
from tests.support.builders import SPEC, tiny_config


@pytest.mark.parametrize("preset", ["modern", "dissertation"])
def test_targets_average_one_of_the_trained_networks(preset: str) -> None:
    config = tiny_config(preset)
    parts = make_parts(config, SPEC)
    name = bootstrap_name(config)
    assert name == ("value" if preset == "dissertation" else "critic")
    assert parts.flat_target.sizes == {name: parts.flat.sizes[name]}
    trained = {"policy", "critic", "log_alpha"} | ({"value"} if preset == "dissertation" else set())
    assert set(parts.flat.sizes) == trained


def test_the_flat_vector_holds_every_parameter() -> None:
    parts = make_parts(tiny_config(), SPEC)
    vector = parts.flat.init(jax.random.key(0))
    leaves = jax.tree.leaves(parts.flat.unravel(vector))
    assert vector.size == sum(leaf.size for leaf in leaves) == sum(parts.flat.sizes.values())
    policy = sum(leaf.size for leaf in jax.tree.leaves(parts.flow.init(jax.random.key(0))))
    assert parts.flat.sizes["policy"] == policy
    assert parts.flat.sizes["log_alpha"] == 1


def test_the_target_entropy_is_per_dimension() -> None:
    config = tiny_config(**{"temperature.target_entropy_per_dim": -0.25})
    assert make_parts(config, SPEC).target_entropy == -0.25 * SPEC.action_dim
