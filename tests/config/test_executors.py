"""Choices of collection that do not go together are refused; see also `tests/test_config.py`."""

from typing import Any

import numpy as np
import pytest

from lsp.config.executors import ExecutorsConfig, latent_scales, relations


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({}, []),
        ({"workers": 1}, ["executors.workers"]),
        ({"engine": "process", "count": 3}, []),
        ({"engine": "process", "count": 3, "workers": 3}, []),
        ({"engine": "process", "count": 3, "workers": 4}, ["executors.workers"]),
        ({"count": 3, "mode": "sync_pipelined"}, []),
        ({"engine": "ray", "count": 3, "address": "a:1"}, []),
        ({"engine": "process", "count": 3, "address": "a:1"}, ["executors.address"]),
        ({"count": 3, "mode": "async"}, ["executors.mode"]),
        ({"engine": "process", "count": 3, "mode": "async"}, []),
    ],
)
def test_what_goes_together(fields: dict[str, Any], refused: list[str]) -> None:
    assert [name for name, holds, _ in relations(ExecutorsConfig(**fields)) if not holds][:1] == refused


@pytest.mark.parametrize("count", [2, 8])
def test_a_ladder_of_scales(count: int) -> None:
    scales = latent_scales(ExecutorsConfig(count=count, exploration=4.0))
    assert scales is not None
    assert (scales[0], scales[-1]) == (1 / 4, 4)
    np.testing.assert_allclose(np.diff(np.log(scales)), 2 * np.log(4) / (count - 1))


def test_no_ladder() -> None:
    assert latent_scales(ExecutorsConfig(count=8)) is None
    assert latent_scales(ExecutorsConfig(exploration=4.0)) is None
