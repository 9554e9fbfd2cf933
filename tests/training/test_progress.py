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
    """No speed and no time left before learning begins; then both, and at the end no time left."""
    stream = io.StringIO()
    progress = Progress(300_000, initial=100_000, stream=stream, seconds=10, updates=lambda: progress._step // 2)
    for second in range(1, 35):
        clock.now += 1
        progress.update(100_000 + 1_000 * second, [700.0, 768.0] if second > 5 else [])
        progress.update(100_000 + 1_000 * second, [700.0, 768.0])
        if second == 15:
            progress.restart()
    progress.note("evaluation: 800")
    progress.close()
    progress.close()
    assert stream.getvalue().splitlines() == [
        "  110,000/300,000 steps  55,000 updates  return 734  elapsed 10 s",
        "  120,000/300,000 steps  60,000 updates  1,000 steps/s  return 734  elapsed 20 s  left 3 min",
        "  130,000/300,000 steps  65,000 updates  1,000 steps/s  return 734  elapsed 30 s  left 3 min",
        "evaluation: 800",
        "  134,000/300,000 steps  67,000 updates  1,000 steps/s  return 734  elapsed 34 s  left 3 min",
    ]


def test_speed_is_that_of_training_alone(clock: Clock) -> None:
    """Of 100 steps a second, whatever else takes time; what comes every 100 steps and takes 9 s is part of the rest."""
    stream = io.StringIO()
    progress = Progress(1_000, stream=stream, seconds=4)
    progress.restart()
    for step in range(100, 500, 100):
        clock.now += 1
        progress.update(step, [])
        with progress.aside("evaluation", every=100):
            clock.now += 6
            with progress.aside("inside of it"):
                clock.now += 3
    progress.update(400, [])
    assert stream.getvalue().splitlines() == [
        "  200/1,000 steps  0 updates  100 steps/s  elapsed 11 s  left 80 s",
        "  300/1,000 steps  0 updates  100 steps/s  elapsed 21 s  left 70 s",
        "  400/1,000 steps  0 updates  100 steps/s  elapsed 31 s  left 60 s",
        "  400/1,000 steps  0 updates  100 steps/s  elapsed 40 s  left 60 s",
    ]


def test_work_that_is_over_says_nothing_of_the_rest(clock: Clock) -> None:
    """Growth takes an hour, once; the layer that follows has a speed of its own."""
    stream = io.StringIO()
    progress = Progress(1_000, stream=stream, seconds=5)
    progress.restart()
    for step in range(100, 300, 100):
        clock.now += 1
        progress.update(step, [])
    with progress.aside("growth"):
        clock.now += 3600
    progress.restart()
    clock.now += 4
    progress.update(240, [])
    assert stream.getvalue() == "  240/1,000 steps  0 updates  10 steps/s  elapsed 60 min  left 76 s\n"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["plain", "terminal"])
def test_compiling_is_said_at_once_and_once(clock: Clock, stream: io.StringIO) -> None:
    progress = Progress(100, stream=stream, seconds=10)
    for _ in range(3):
        with progress.aside("compiling", text=module.COMPILING):
            shown = stream.getvalue()
    assert shown.count(module.COMPILING) == 1
    progress.close()


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
        assert lines == ["  evaluating, 1010 s", "  evaluating, 1020 s", "  50/100 steps  0 updates  elapsed 25 s"]


def test_nothing_is_left_at_the_end(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(30, stream=stream, seconds=2)
    progress.restart()
    for step in (10, 20, 30):
        clock.now += 2
        progress.update(step, [])
    progress.close()
    assert stream.getvalue().splitlines() == [
        "  10/30 steps  0 updates  5 steps/s  elapsed 2 s  left 4 s",
        "  20/30 steps  0 updates  5 steps/s  elapsed 4 s  left 2 s",
        "  30/30 steps  0 updates  5 steps/s  elapsed 6 s",
    ]


def test_plain_lines_without_episodes_or_movement(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(100, stream=stream, seconds=2)
    progress.restart()
    clock.now += 2
    progress.update(0, [])
    progress.close()
    assert stream.getvalue() == "  0/100 steps  0 updates  0 steps/s  elapsed 2 s\n"


def test_the_last_state_is_shown_though_its_time_was_taken(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(100, stream=stream, seconds=10)
    clock.now += 1
    progress.update(50, [])
    progress.restart()
    progress.close()
    assert stream.getvalue() == "  50/100 steps  0 updates  elapsed 1 s\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (90_000, "25.0 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert module.duration(seconds) == text


def test_bar_on_a_terminal(clock: Clock) -> None:
    stream = Terminal()
    progress = Progress(200_000, initial=50_000, stream=stream, updates=lambda: 12_345)
    progress.restart()
    progress.update(60_000, [1.0])  # not due
    assert "60.0k" not in stream.getvalue()
    progress.note("layer 2 begins")
    clock.now += 4
    progress.update(80_000, [5.0, 7.0])
    progress.close()
    shown = stream.getvalue()
    assert " 80.0k steps, 12.3k updates, 7,500/s, return 6.00 [00:04<00:16]" in shown
    assert " 40%|" in shown
    before, note, after = shown.partition("layer 2 begins\n")
    assert before.endswith(" \r")  # the bar was wiped first
    assert note
    assert " 25%|" in after  # and drawn again


@pytest.mark.parametrize("columns", [80, 120])
def test_a_bar_fits(columns: int, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """With large numbers and hours, and a bar of some width is left."""
    stream = Terminal()
    progress = Progress(3_000_000, stream=stream, updates=lambda: 1_123_456)
    assert progress._bar is not None
    progress._bar.dynamic_ncols = lambda file: (columns, 24)
    progress.restart()
    clock.now += 4321
    progress.update(1_123_456, [5_734.0])
    last = stream.getvalue().split("\r")[-1]
    progress.close()
    assert last.rstrip().endswith("| 1.12M steps, 1.12M updates, 260/s, return 5,734 [1:12:01<2:00:17]")
    assert columns - 2 <= len(last) <= columns


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["plain", "terminal"])
def test_an_update_that_shows_nothing_is_cheap(stream: io.StringIO) -> None:
    progress = Progress(10**9, stream=stream, seconds=1e6)
    returns = [1.0] * 100
    shown = len(stream.getvalue())
    best = min(timeit.repeat(lambda: progress.update(1, returns), number=2_000, repeat=20)) / 2_000
    assert best < 2e-6
    assert len(stream.getvalue()) - shown < 1_000
    progress.close()
