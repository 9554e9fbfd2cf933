"""How commands read their options and end: an expected error is one line, `lsp: error: ...`, and an exit status."""

import argparse
import contextlib
import io
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn, TextIO

from lsp.config.schema import ConfigError, Fault

BAD_INPUT, FAULT, INTERRUPTED = 2, 1, 130
PLATFORM_VARIABLES = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ConfigErrors, and that takes no abbreviations."""

    def __init__(self, program: str, description: str) -> None:
        """A parser for `python -m lsp.{program}`."""
        super().__init__(prog=f"python -m lsp.{program}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        raise ConfigError(f"{message}; see --help")


def status_of(command: Callable[[], int]) -> int:
    """Call `command`, and return its exit status, or that of the expected error it ends with, after saying which.

    BAD_INPUT for ConfigError, and where JAX does not find a platform; FAULT for Fault and OSError, and where the output
    has no reader; INTERRUPTED after Ctrl-C. LSP_DEBUG=1 shows tracebacks.
    """
    _prepare_streams()
    try:
        status = command()
        return status if _flush() else status or FAULT
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        return FAULT
    except (ConfigError, Fault, OSError, RuntimeError, AssertionError) as error:
        expected = platform_problem(error) or error
        if os.environ.get("LSP_DEBUG") or not isinstance(expected, ConfigError | Fault | OSError):
            raise
        say_error(expected)
        return BAD_INPUT if isinstance(expected, ConfigError) else FAULT
    except KeyboardInterrupt:
        say("lsp: interrupted", sys.stderr)
        return INTERRUPTED
    finally:
        _flush()


def say_error(error: BaseException | str) -> None:
    """Print an error as one line."""
    say(f"lsp: error: {' '.join(str(error).split())}", sys.stderr)


def say(line: str, stream: TextIO | None = None) -> None:
    """Print a line, by default to standard output, whether anybody reads it or not."""
    with contextlib.suppress(OSError):
        print(line, file=stream)


def platform_problem(error: BaseException) -> ConfigError | None:
    """The error in one line where the reason is that JAX finds no device; None of other errors."""
    jax = sys.modules.get("jax")
    if isinstance(error, ConfigError | Fault | OSError) or jax is None:
        return None
    try:
        jax.devices()
    except Exception as reason:  # of a platform that it knows, but does not find, an assertion without a word
        return without_platform(str(reason))
    return None


def without_platform(reason: str) -> ConfigError:
    """What to say where JAX finds no device, for that reason."""
    given = " ".join(f"{name}={os.environ[name]}" for name in PLATFORM_VARIABLES if os.environ.get(name))
    reason = re.sub(r" \(set JAX_PLATFORMS=.*", "", " ".join(reason.split())).rstrip(".")
    return ConfigError(
        f"{given or 'JAX'}: {reason or 'no such device is found'}; unset it, or let JAX_PLATFORMS be cpu"
    )


def _prepare_streams() -> None:
    """Let any name be printed in any encoding, and no file of ours take the place of a stream that is closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for the rest of the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> bool:
    """Flush both streams; what nobody reads vanishes, or the interpreter would complain of it. Whether all was read."""
    read = True
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            read = False
            with contextlib.suppress(OSError, ValueError):  # ValueError: there is no file below it
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
    return read
