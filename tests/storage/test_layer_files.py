"""Layers on disk come back to the bit, and what cannot be used is named in one line."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from lsp.agents.stack import Layer
from lsp.config import ConfigError
from lsp.storage import layer_files
from tests.support.layers import make_layer


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for depth in range(2):
        layer_files.save(tmp_path, depth, make_layer(depth))
    return tmp_path


def test_round_trip(run: Path) -> None:
    layers = layer_files.load(run)
    assert len(layers) == 2
    for depth, layer in enumerate(layers):
        assert isinstance(layer, Layer)
        assert layer[:3] == make_layer(depth)[:3]
        jax.tree.map(np.testing.assert_array_equal, layer.values, make_layer(depth).values)


def test_a_run_without_layers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"it has frozen no layer yet: let it finish$"):
        layer_files.load(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no such folder$"):
        layer_files.load(tmp_path / "nowhere")


def drop(path: Path, what: str) -> None:
    """Take one array out of a layer as if it had never been written."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["groups"]["layer"] = [entry for entry in manifest["groups"]["layer"] if what not in entry["leaf"]]
    del manifest["crc32"]
    layer_files.checkpoint._write_manifest(path, manifest)


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing layer", "missing file", "missing normalizer"])
def test_what_cannot_be_used_is_named(run: Path, damage: str) -> None:
    first = run / "layers" / "0"
    array = next((first / "layer").glob("*params*"))
    match damage:
        case "truncated":
            array.write_bytes(array.read_bytes()[:-1])
        case "altered":
            array.write_bytes(array.read_bytes()[:-1] + b"!")
        case "missing layer":
            (first / "manifest.json").unlink()
        case "missing file":
            array.unlink()
        case "missing normalizer":
            drop(first, "variance")
    with pytest.raises(ConfigError) as caught:
        layer_files.load(run)
    message = str(caught.value)
    assert message.startswith(f"layer {first} cannot be used: ")
    assert message.endswith("; train it again or choose another run")
    assert "\n" not in message
    if damage == "missing normalizer":
        assert "its observation normalizer is missing or incomplete (layer.observation_stats.variance);" in message
