"""Lines of JSON come back as written, also after a kill."""

import errno
import json
import math
import resource
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp.storage import metrics
from lsp.storage.metrics import JsonLines


def strict(text: str) -> Any:
    """Parse as a reader would that knows no JSON beyond the standard."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_read_inverts_write(tmp_path: Path) -> None:
    record = {
        "step": 3,
        "loss": 0.1,
        "tiny": 5e-324,
        "zero": -0.0,
        "big": 2**70,
        "kind": "mode",
        "returns": [1.0, -math.inf],
        "q": math.inf,
    }
    lines = JsonLines(tmp_path / "new/metrics.jsonl")
    lines.write(record)
    lines.write({})
    assert repr(metrics.read(lines.path)) == repr([record, {}])  # flushed: nothing is closed yet
    lines.close()


def test_numpy_values_become_plain_ones(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.write(
        {
            "a": np.float32(0.1),
            "b": np.int64(4),
            "c": np.array([1.5, math.nan]),
            "d": np.array(2.0),
            "e": np.bool_(True),
        }
    )
    lines.close()
    expected = {"a": float(np.float32(0.1)), "b": 4, "c": [1.5, math.nan], "d": 2.0, "e": True}
    assert repr(metrics.read(lines.path)) == repr([expected])


def test_lines_are_compact_standard_json(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.write({"step": 1, "loss": math.nan, "q": [math.inf, -math.inf]})
    lines.close()
    text = lines.path.read_text()
    assert text == '{"step":1,"loss":"nan","q":["inf","-inf"]}\n'
    assert strict(text)


def test_what_is_not_json_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "metrics.jsonl")
    with pytest.raises(TypeError, match="not JSON serializable"):
        lines.write({"step": 1, "loss": object()})  # type: ignore[dict-item]
    assert lines.offset() == 0
    lines.close()


def test_every_torn_last_line_is_left_out_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first, second = b'{"step":1}\n', b'{"step":2,"loss":"nan"}\n'
    for length in range(len(second)):
        path.write_bytes(first + second[:length])
        assert metrics.read(path) == [{"step": 1}]
        lines = JsonLines(path)
        lines.write({"step": 3})
        lines.close()
        assert metrics.read(path) == [{"step": 1}, {"step": 3}]


@pytest.mark.parametrize("line", ['{"step":', "[1]", "3", ""])
def test_a_bad_line_before_the_last_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step":1}}\n{line}\n{{"step":2}}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl:2: .* remove the line$"):
        metrics.read(path)


def test_truncate_goes_back_to_the_checkpoint(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.write({"step": 1})
    offset = lines.offset()
    lines.write({"step": 2})
    lines.write({"step": 3})
    lines.close()
    resumed = JsonLines(lines.path)
    assert resumed.truncate(offset) == 2
    assert resumed.truncate(offset) == 0
    resumed.write({"step": 2, "again": 1})
    assert metrics.read(lines.path) == [{"step": 1}, {"step": 2, "again": 1}]
    assert resumed.offset() == lines.path.stat().st_size
    assert resumed.truncate(0) == 2
    resumed.close()


def test_truncate_refuses_an_offset_that_is_not_its_own(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.write({"step": 1})
    for offset in (5, 12, 100):
        with pytest.raises(ValueError, match=f"no line ends at byte {offset}"):
            lines.truncate(offset)
    lines.close()
    assert metrics.read(lines.path) == [{"step": 1}]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A limit on the size of files stands for the full disk: a write gets as far as that, and the next one fails."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_several_lines_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "eval.jsonl"
    with closing(JsonLines(path)) as lines:
        with largest_file(15), pytest.raises(OSError, match="File too large"):
            lines.write({"step": 1}, {"step": 2})
        assert path.read_bytes() == b""
        lines.write({"step": 1}, {"step": 2})
    assert metrics.read(path) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("room", range(13))
def test_a_line_that_does_not_fit_leaves_no_trace(tmp_path: Path, room: int) -> None:
    """Torn anywhere; what is written once there is room follows the line before."""
    path = tmp_path / "metrics.jsonl"
    with closing(JsonLines(path)) as lines:
        lines.write({"step": 1})
        with largest_file(path.stat().st_size + room):
            with pytest.raises(OSError, match=r"File too large: .*metrics.jsonl") as caught:
                lines.write({"step": 222})
            assert caught.value.errno == errno.EFBIG
            assert lines.offset() == path.stat().st_size == 11
        lines.write({"step": 3})
        assert lines.offset() == path.stat().st_size
    assert metrics.read(path) == [{"step": 1}, {"step": 3}]


def test_a_device_that_is_full(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with closing(JsonLines(tmp_path / "metrics.jsonl")) as lines:
        with pytest.raises(OSError, match="No space left"):
            lines.write({"step": 1})
        assert lines.offset() == lines.truncate(0) == 0


@pytest.mark.parametrize(
    ("value", "mean"),
    [
        ([True, False, None, True], 2 / 3), ([None, 0.0, None], 0.0), ([None, None], None), ([], None), (None, None),
        ([1.0, math.nan, 3.0], 2.0), ([math.nan], None), ([math.inf, 1.0], math.inf), (2, 2.0), (True, 1.0),
        ("a", None), (["a", 2.0], 2.0), ([[1, 2], 5], 5.0), (np.float32(0.5), 0.5), (np.array([1.0, np.nan]), 1.0),
        ([np.float32(2), np.bool_(False), np.int64(4)], 2.0), ((1, 3), 2.0), ({"a": 1}, None),
    ],
)  # fmt: skip
def test_the_mean_of_those_that_say_it(value: Any, mean: float | None) -> None:
    """Absent is neither 0 nor an error."""
    assert metrics.mean_of_said(value) == (mean if mean is None else pytest.approx(mean))


def test_a_diverged_number_is_no_absent_one() -> None:
    assert math.isnan(metrics.mean_of_said(math.nan))  # type: ignore[arg-type]
