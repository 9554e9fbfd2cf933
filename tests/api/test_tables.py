"""Columns hold what the lines said, and NaN where a line did not say it."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lsp.api.tables import table
from lsp.config import ConfigError

RECORDS: list[dict[str, Any]] = [
    {"step": 1, "protocol": "mode", "returns": [1.0, 2.0], "seen": [None, 3.0], "q": 0.5, "ended": [True, False]},
    {"step": 2, "protocol": "sampled", "returns": [3.0, 4.0], "late": 7, "ended": [False, False]},
]


def test_columns() -> None:
    columns = table(RECORDS)
    assert list(columns) == ["step", "protocol", "returns", "seen", "q", "ended", "late"]
    assert columns.rows == 2
    assert columns["step"].dtype == np.int64
    np.testing.assert_array_equal(columns["step"], [1, 2])
    np.testing.assert_array_equal(columns["protocol"], ["mode", "sampled"])
    np.testing.assert_array_equal(columns["returns"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(columns["seen"], [[np.nan, 3], [np.nan, np.nan]])
    np.testing.assert_array_equal(columns["q"], [0.5, np.nan])
    np.testing.assert_array_equal(columns["late"], [np.nan, 7])
    assert columns["ended"].dtype == np.bool_
    assert repr(columns) == "Table of 2 rows: step, protocol, returns, seen, q, ended, late"


def test_lists_of_several_lengths() -> None:
    column = table([{"returns": [1.0]}, {"returns": [2.0, 3.0]}, {}])["returns"]
    assert column.shape == (3,)
    np.testing.assert_array_equal(column[1], [2, 3])
    assert column[2] is None


def test_nothing_written_yet() -> None:
    assert table([]) == {}
    assert table([]).rows == 0


def test_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=dict))
    frame = table(RECORDS).to_pandas()
    assert frame["returns"] == [[1.0, 2.0], [3.0, 4.0]]
    np.testing.assert_array_equal(frame["step"], [1, 2])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"needs pandas: python -m pip install pandas \(.*\)$"):
        table(RECORDS).to_pandas()
