"""Choices of collection that do not go together are refused; see also `tests/test_config.py`."""

from typing import Any

import pytest

from lsp.executors_config import ExecutorsConfig, relations


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({}, []),
        ({"workers": 1}, ["executors.workers"]),
        ({"engine": "process", "count": 3}, []),
        ({"engine": "process", "count": 3, "workers": 3}, []),
        ({"engine": "process", "count": 3, "workers": 4}, ["executors.workers"]),
        ({"count": 3, "mode": "sync_pipelined"}, []),
    ],
)
def test_what_goes_together(fields: dict[str, Any], refused: list[str]) -> None:
    assert [name for name, holds, _ in relations(ExecutorsConfig(**fields)) if not holds][:1] == refused
