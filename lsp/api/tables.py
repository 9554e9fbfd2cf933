"""Lines of metrics as columns of NumPy arrays. No JAX here."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lsp.config import ConfigError

if TYPE_CHECKING:
    import pandas


class Table(dict[str, np.ndarray]):
    """Columns by name, with a row for each line of a file: `table["step"]`, `table["return"]`.

    Whole numbers are int64 and others float64, where NaN stands for a line that does not say it. Lists, one entry an
    episode, make a column of two axes, [rows, episodes]; where lines have lists of several lengths, one of arrays.
    """

    @property
    def rows(self) -> int:
        """How many lines there are."""
        return len(next(iter(self.values()), ()))

    def to_pandas(self) -> "pandas.DataFrame":
        """The same as a DataFrame; columns of two axes become lists. Raises ConfigError where pandas is missing."""
        try:
            import pandas
        except ImportError as error:
            raise ConfigError(f"to_pandas() needs pandas: python -m pip install pandas ({error})") from error
        return pandas.DataFrame({name: each if each.ndim == 1 else each.tolist() for name, each in self.items()})

    def __repr__(self) -> str:
        return f"Table of {self.rows} rows: {', '.join(self)}"


def table(records: Sequence[Mapping[str, Any]]) -> Table:
    """The columns of records, each of which has some of them."""
    names = dict.fromkeys(name for record in records for name in record)
    return Table({name: _column([record.get(name) for record in records]) for name in names})


def _column(values: Sequence[Any]) -> np.ndarray:
    said = [value for value in values if value is not None]
    if any(isinstance(value, list) for value in said):
        return _lists(values)
    if all(isinstance(value, bool | int | float) for value in said):
        whole = len(said) == len(values) and all(isinstance(value, bool | int) for value in said)
        return np.array(values, None if whole else np.float64)  # None becomes NaN
    column = np.array(values, object)
    return column if len(said) < len(values) else column.astype(str)


def _lists(values: Sequence[Any]) -> np.ndarray:
    lengths = {len(value) for value in values if isinstance(value, list)}
    rows = [value if isinstance(value, list) else [None] * max(lengths) for value in values]
    if len(lengths) == 1 and all(isinstance(each, bool | int | float | None) for row in rows for each in row):
        return np.stack([_column(row) for row in rows])
    column = np.empty(len(rows), object)
    for i, value in enumerate(values):
        column[i] = _column(value) if isinstance(value, list) else None
    return column
