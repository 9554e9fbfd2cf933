"""How commands read their options and end: an expected error is one line, `lsp: error: ...`, and an exit status."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from lsp.config.schema import ConfigError, Fault

BAD_INPUT, FAULT, INTERRUPTED = 2, 1, 130


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

    BAD_INPUT for ConfigError; FAULT for Fault and OSError; INTERRUPTED after Ctrl-C. LSP_DEBUG=1 shows tracebacks.
    """
    try:
        return command()
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAULT
    except (ConfigError, Fault, OSError) as error:
        if os.environ.get("LSP_DEBUG"):
            raise
        say_error(error)
        return BAD_INPUT if isinstance(error, ConfigError) else FAULT
    except KeyboardInterrupt:
        print("lsp: interrupted", file=sys.stderr)
        return INTERRUPTED


def say_error(error: Exception | str) -> None:
    """Print an error as one line."""
    print(f"lsp: error: {' '.join(str(error).split())}", file=sys.stderr)
