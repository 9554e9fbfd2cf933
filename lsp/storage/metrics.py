"""Lines of JSON: the files of metrics and of evaluations. No JAX here.

What is absent is not zero. A name that has nothing to say in a line is not in that line: `info/NAME` where no episode
said it, `success` where no episode of the run has said so yet (later, silence is 0), the learner's metrics where there
was no update since the line before. In the lists of evaluations, one entry an episode, None (`null`) stands for an
episode that never said it. NaN and infinity are values and mean a fault.
"""

import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class JsonLines:
    """An append-only file of records, one compact JSON object a line, flushed line by line.

    JSON has no NaN and no infinity, and a diverged run must not look like a missing value: they are written as the
    strings "nan", "inf" and "-inf", which `read` turns back. A last line torn by a kill is cut when the file is opened,
    one torn by a full disk as soon as that is known.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self.path.open("ab+", buffering=0)  # or what did not fit would be written later, after others
        self._size = self._read().rfind(b"\n") + 1
        self._cut()

    def write(self, *records: Mapping[str, float | int | str | Sequence[Any] | np.ndarray]) -> None:
        """Append `records`; NumPy scalars and arrays become Python numbers and lists.

        Raises OSError, such as of a full disk; nothing of any of them is in the file then.
        """
        lines = [json.dumps(_to_json(each), separators=(",", ":"), allow_nan=False) for each in records]
        text = "".join(f"{line}\n" for line in lines).encode()
        try:
            rest = text
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._cut()
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._size += len(text)

    def offset(self) -> int:
        """Bytes in the file, all of them safely on disk: what a checkpoint notes down for `truncate`."""
        if self.path.is_file():
            os.fsync(self._stream.fileno())
        return self._size

    def truncate(self, offset: int) -> int:
        """Drop what was written after `offset`, a result of `offset()`; returns the number of lines dropped.

        Raises:
            ValueError: no line ends at `offset`, so this is not the file that the checkpoint saw.
        """
        text = self._read()
        if text[:offset].rfind(b"\n") + 1 != offset:
            raise ValueError(
                f"{self.path}: no line ends at byte {offset}, where the checkpoint was saved, so it was changed since: "
                "move it away to resume with a new one"
            )
        self._size = offset
        self._cut()
        return text.count(b"\n", offset)

    def _read(self) -> bytes:
        """What is in it; nothing where it is no file, such as a device or a pipe."""
        return self.path.read_bytes() if self.path.is_file() else b""

    def _cut(self) -> None:
        """Remove what is no whole line."""
        if self.path.is_file():
            self._stream.truncate(self._size)

    def close(self) -> None:
        """Close the file; `write` afterwards is an error."""
        self._stream.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a `JsonLines` file, also while it is being written: a torn last line is left out.

    Raises:
        ValueError: a line before the last is not a JSON object.
    """
    lines = Path(path).read_bytes().split(b"\n")[:-1]
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: not JSON ({error}): remove the line") from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}:{number}: not a JSON object: remove the line")
        records.append(_from_json(record))
    return records


def mean_of_said(value: Any) -> float | None:
    """The number of a record's entry: of a list with one an episode, the mean over the episodes that say one.

    An episode that does not say it has None there, or NaN in files of earlier versions; it counts for nothing, least of
    all for 0. None where no episode says it, or where the entry is no number.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        numbers = [each for each in value if isinstance(each, int | float | np.number | np.bool_)]
        said = [float(each) for each in numbers if not np.isnan(each)]
        return sum(said) / len(said) if said else None
    return float(value) if isinstance(value, int | float) else None


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value
