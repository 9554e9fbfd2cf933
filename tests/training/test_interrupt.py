"""A signal is a request; a second Ctrl-C is an order."""

import signal
import threading

import pytest

from lsp.training.interrupt import Interrupt

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def test_nothing_requested_by_itself() -> None:
    with Interrupt() as interrupt:
        assert not interrupt.requested


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_a_request(number: int, capfd: pytest.CaptureFixture[str]) -> None:
    with Interrupt() as interrupt:
        signal.raise_signal(number)
        assert interrupt.requested
        message = "\nstopping after this step; Ctrl-C once more to end without a checkpoint\n"
        assert capfd.readouterr().err == message


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
