"""What a run tells: lines of JSON for programs, a progress bar for people. No JAX here."""

import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class JsonLines:
    """An append-only file of records, one compact JSON object a line, flushed line by line.

    JSON has no NaN and no infinity, and a diverged run must not look like a missing value: they are written as the
    strings "nan", "inf" and "-inf", which `read` turns back. A last line torn by a kill is cut when the file is opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self.path.open("ab+")
        self._stream.seek(0)
        whole = self._stream.read().rfind(b"\n") + 1
        self._stream.truncate(whole)

    def write(self, record: Mapping[str, float | int | str | Sequence[Any] | np.ndarray]) -> None:
        """Append `record`; NumPy scalars and arrays become Python numbers and lists."""
        text = json.dumps(_to_json(record), separators=(",", ":"), allow_nan=False)
        self._stream.write(text.encode() + b"\n")
        self._stream.flush()

    def offset(self) -> int:
        """Bytes in the file, all of them safely on disk: what a checkpoint notes down for `truncate`."""
        os.fsync(self._stream.fileno())
        return os.fstat(self._stream.fileno()).st_size

    def truncate(self, offset: int) -> int:
        """Drop what was written after `offset`, a result of `offset()`; returns the number of lines dropped.

        Raises:
            ValueError: no line ends at `offset`, so this is not the file that the checkpoint saw.
        """
        self._stream.seek(0)
        text = self._stream.read()
        if text[:offset].rfind(b"\n") + 1 != offset:
            raise ValueError(
                f"{self.path}: no line ends at byte {offset}, where the checkpoint was saved, so it was changed since: "
                "move it away to resume with a new one"
            )
        self._stream.truncate(offset)
        return text.count(b"\n", offset)

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


class Progress:
    """Progress of a run: a bar on a terminal, elsewhere a plain line every `seconds`.

    Args:
        total: environment steps of the whole run.
        initial: steps done before this process, by the run that it resumes.
        stream: where to show it; None: standard error.
        seconds: time between two plain lines.
    """

    def __init__(self, total: int, initial: int = 0, stream: TextIO | None = None, seconds: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._bar = None
        if self._stream.isatty():
            look = {"unit": " steps", "unit_scale": True, "dynamic_ncols": True, "mininterval": 0.0}
            self._bar = tqdm(total=total, initial=initial, file=self._stream, **look)
            seconds = 0.25
        self._total, self._initial, self._seconds = total, initial, seconds
        self._step = self._shown_step = initial
        self._returns: Sequence[float] = ()
        self._shown_at = time.monotonic()
        self._due = self._shown_at + seconds

    def update(self, step: int, returns: Sequence[float]) -> None:
        """Tell that `step` is done; `returns` are those of the latest episodes, whose mean is shown.

        Cheap enough for every environment step: nothing is formatted until it is time to show it.
        """
        self._step, self._returns = step, returns
        if time.monotonic() >= self._due:
            self._show()

    def note(self, text: str) -> None:
        """Print a line of its own."""
        if self._bar is None:
            print(text, file=self._stream, flush=True)
        else:
            tqdm.write(text, file=self._stream)

    def close(self) -> None:
        """Show the last state, unless it is already there."""
        if self._step != self._shown_step:
            self._show()
        if self._bar is not None:
            self._bar.close()

    def _show(self) -> None:
        now = time.monotonic()
        steps, elapsed = self._step - self._shown_step, now - self._shown_at
        score = ""
        if self._returns:
            mean = sum(self._returns) / len(self._returns)
            score = f"return {mean:,.0f}" if abs(mean) >= 100 else f"return {mean:.2f}"
        if self._bar is None:
            speed = steps / elapsed if elapsed > 0 else math.inf
            # Compiling is part of the first stretch, which therefore says little of those to come.
            tells = speed > 0 and self._shown_step > self._initial and self._step < self._total
            left = _duration((self._total - self._step) / speed) + " left" if tells else ""
            parts = (f"{self._step:,}/{self._total:,} steps", f"{speed:,.0f} steps/s", score, left)
            self.note("  " + "  ".join(part for part in parts if part))
        else:
            self._bar.set_description_str(score, refresh=False)
            self._bar.update(steps)
        self._shown_step, self._shown_at, self._due = self._step, now, now + self._seconds


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def crossed(before: int, now: int, interval: int) -> bool:
    """Whether a multiple of `interval` lies in (before, now]; never for 0."""
    return interval > 0 and now // interval > before // interval
