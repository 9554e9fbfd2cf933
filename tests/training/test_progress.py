"""A bar on a terminal, plain lines elsewhere; showing nothing costs nothing."""

import io
import timeit

import pytest

from lsp.training import progress as module
from lsp.training.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that moves when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


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


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["plain", "terminal"])
def test_what_takes_long_is_shown_when_it_is_time(clock: Clock, stream: io.StringIO) -> None:
    progress = Progress(100, stream=stream, seconds=10)
    progress.update(50, [])
    asked = []

    def text() -> str:
        asked.append(clock.now)
        return f"evaluating, {clock.now:.0f} s"

    for _ in range(25):
        progress.busy(text)
        clock.now += 1
    progress.close()
    if stream.isatty():
        assert len(asked) == 24
        assert "evaluating, 1024 s" in stream.getvalue()
    else:
        assert asked == [1010, 1020]
        lines = stream.getvalue().splitlines()
        assert lines == ["  evaluating, 1010 s", "  evaluating, 1020 s", "  50/100 steps  2 steps/s"]


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
    assert module._duration(seconds) == text


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
