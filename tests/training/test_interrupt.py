"""A signal is a request, and so is a reader that leaves; a second Ctrl-C is an order."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any

import pytest

from lsp.training.interrupt import Interrupt, Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def not_under_nohup() -> Iterator[None]:
    """Where SIGHUP is ignored, we leave it at that, whoever runs the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_nothing_requested_by_itself() -> None:
    with Interrupt() as interrupt:
        assert not interrupt.requested
        interrupt.check()


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_a_request(number: int, capfd: pytest.CaptureFixture[str]) -> None:
    with Interrupt() as interrupt:
        signal.raise_signal(number)
        assert interrupt.requested
        assert interrupt.signal == number
        message = "\nstopping after this step; Ctrl-C once more to end without a checkpoint\n"
        assert capfd.readouterr().err == message
        with pytest.raises(Interrupted):
            interrupt.check()


@pytest.mark.parametrize("first", SIGNALS)
def test_the_second_interrupt_is_an_order(first: int) -> None:
    with Interrupt():
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_second_termination_is_not() -> None:
    """Process managers repeat it, and the checkpoint is being written."""
    with Interrupt() as interrupt:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert interrupt.requested


def test_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interrupt():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with pytest.raises(ZeroDivisionError), Interrupt():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_inert_outside_the_main_thread() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    found = []

    def work() -> None:
        with Interrupt() as interrupt:
            found.append(([signal.getsignal(number) for number in SIGNALS], interrupt.requested))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(before, False)]


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupt.requested
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def closed_pipe() -> IO[str]:
    """A text stream whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", buffering=1)


def full_disk() -> IO[str]:
    return open("/dev/full", "w", buffering=1)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("make", [closed_pipe, full_disk])
def test_a_reader_that_left_is_a_request(name: str, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever prints goes on; the request is noticed after a step. Streams come back as they were."""
    stream = make()
    monkeypatch.setattr(sys, name, stream)
    with Interrupt() as interrupt:
        ours = getattr(sys, name)
        assert (ours.encoding, ours.fileno(), ours.isatty()) == (stream.encoding, stream.fileno(), False)
        assert not interrupt.requested
        for _ in range(3):
            print("x" * 10_000, file=getattr(sys, name), flush=True)
        assert interrupt.requested
    assert getattr(sys, name) is stream
    os.close(stream.fileno())
    monkeypatch.undo()
    with pytest.raises(OSError):  # noqa: PT011  # what was in its buffer cannot be written
        stream.close()


def test_a_signal_when_nobody_reads_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(descriptor: int, text: bytes) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "write", write)
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGHUP)
        assert interrupt.requested


def test_no_streams_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `pythonw` has it, or `2>&-`."""
    monkeypatch.setattr(sys, "stdout", None)
    with Interrupt():
        assert sys.stdout is None
