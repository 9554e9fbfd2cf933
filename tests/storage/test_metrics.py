"""Lines of JSON come back as written, also after a kill; the bar is cheap, and readable where there is no terminal."""

import io
import json
import math
import timeit
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp.storage import metrics
from lsp.storage.metrics import JsonLines, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that moves when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(metrics.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


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


def test_plain_lines(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(300_000, initial=100_000, stream=stream, seconds=10)
    for second in range(1, 25):
        clock.now += 1
        progress.update(100_000 + 1_000 * second, [700.0, 768.0] if second > 5 else [])
        progress.update(100_000 + 1_000 * second, [700.0, 768.0])
    progress.note("evaluation: 800")
    progress.close()
    progress.close()
    assert stream.getvalue().splitlines() == [
        "  110,000/300,000 steps  1,000 steps/s  return 734",
        "  120,000/300,000 steps  1,000 steps/s  return 734  3 min left",
        "evaluation: 800",
        "  124,000/300,000 steps  1,000 steps/s  return 734  3 min left",
    ]


def test_nothing_is_left_at_the_end(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(30, stream=stream, seconds=1)
    for step in (10, 20, 30):
        clock.now += 1
        progress.update(step, [])
    assert stream.getvalue().splitlines() == [
        "  10/30 steps  10 steps/s",
        "  20/30 steps  10 steps/s  1 s left",
        "  30/30 steps  10 steps/s",
    ]


def test_plain_lines_without_episodes_or_movement(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(100, stream=stream, seconds=1)
    clock.now += 1
    progress.update(0, [])
    progress.close()
    assert stream.getvalue() == "  0/100 steps  0 steps/s\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (90_000, "25.0 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert metrics._duration(seconds) == text


def test_bar_on_a_terminal() -> None:
    stream = Terminal()
    progress = Progress(200, initial=50, stream=stream)
    progress.update(60, [1.0])  # not due
    assert "60.0/200" not in stream.getvalue()
    progress.note("layer 2 begins")
    progress.update(80, [5.0, 7.0])
    progress.close()
    shown = stream.getvalue()
    assert "return 6.00" in shown
    assert "80.0/200" in shown
    before, note, after = shown.partition("layer 2 begins\n")
    assert before.endswith(" \r")  # the bar was wiped first
    assert note
    assert "50.0/200" in after  # and drawn again


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["plain", "terminal"])
def test_an_update_that_shows_nothing_is_cheap(stream: io.StringIO) -> None:
    progress = Progress(10**9, stream=stream, seconds=1e6)
    returns = [1.0] * 100
    shown = len(stream.getvalue())
    best = min(timeit.repeat(lambda: progress.update(1, returns), number=2_000, repeat=20)) / 2_000
    assert best < 2e-6
    assert len(stream.getvalue()) - shown < 1_000
    progress.close()


@pytest.mark.parametrize("interval", [0, 1, 3, 7, 100])
def test_crossed(interval: int) -> None:
    for before in range(20):
        for now in range(before, before + 9):
            multiples = [step for step in range(before + 1, now + 1) if interval and step % interval == 0]
            assert metrics.crossed(before, now, interval) == bool(multiples)
