"""What environments return, made plain: what can be used becomes a number, a truth value, a dict; the rest is a Misfit.

The callers test for the usual types first, for these functions run at every step.
"""

import math
import os
import traceback
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

LARGEST = float(np.finfo(np.float32).max)
"""The largest number of float32, in which training computes."""
OLD = "the interface of gym before 0.26, which is not supported"
STEP = "observation, reward, terminated, truncated, info"
RESET = "observation, info"


class Misfit(ValueError):
    """Something that an environment returned and that cannot be used."""

    def __init__(self, what: str, wanted: str = "") -> None:
        """`what` was returned; `wanted` says what should have been."""
        super().__init__(what)
        self.what, self.wanted = what, wanted


def number(name: str, value: Any) -> float:
    """The one real number that `value` is or holds, which float32 must hold as well."""
    found = value if isinstance(value, float) else _plain(value)  # the usual types first: NumPy's float64 is one
    if not isinstance(found, Real):
        raise Misfit(f"{name} {shown(value)}", "it must be one number")
    try:
        converted = float(found)
    except OverflowError:
        raise Misfit(f"{name} {shown(value)}", _beyond()) from None
    if not math.isfinite(converted):
        raise Misfit(f"{name} {converted}")
    if abs(converted) > LARGEST:
        raise Misfit(f"{name} {converted}", _beyond())
    return converted


def _beyond() -> str:
    return f"float32, in which training computes, holds numbers up to {LARGEST:.3g}: scale it down"


def truth(name: str, value: Any) -> bool:
    """The one truth value that `value` is or holds; a number is true unless it is 0."""
    if type(value) is np.bool_:  # as is usual, too
        return bool(value)
    found = _plain(value)
    if not isinstance(found, Real) or found != found:  # NaN
        raise Misfit(f"{name} {shown(value)}", "it must be True or False")
    return bool(found)


def _plain(value: Any) -> Any:
    """What is in a list or an array of one, whatever library's; else `value` itself."""
    for _ in range(8):  # as deep as anyone nests one number
        if isinstance(value, Real | str | bytes):
            return value
        if isinstance(value, np.bool_):
            return bool(value)
        try:
            if isinstance(value, list | tuple):
                (value,) = value
            elif callable(getattr(value, "item", None)):
                value = value.item()
            elif callable(getattr(value, "__float__", None)):
                return float(value)
            else:
                return value
        except Exception:
            return value
    return value


def info(value: Any) -> dict[str, Any]:
    """`info` as a dict whose keys are text; where two become the same, that which was text already counts."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Misfit(f"info {shown(value)}", "it must be a dict")
    items = dict(value)
    own = {key: items.pop(key) for key in list(items) if isinstance(key, str)}
    return {shown(key): items[key] for key in items} | own


def step_result(result: Any) -> tuple[Any, ...]:
    """The five values of a step."""
    if isinstance(result, tuple | list) and len(result) == 5:
        return tuple(result)
    if isinstance(result, tuple | list) and len(result) == 4:
        raise Misfit("four values", f"that is {OLD}; return {STEP}")
    raise Misfit(_counted(result), f"return {STEP}")


def reset_result(result: Any) -> tuple[Any, Any]:
    """The two values of a reset."""
    if isinstance(result, tuple | list) and len(result) == 2:
        if result[1] is None or isinstance(result[1], Mapping):
            return result[0], result[1]
        if isinstance(result, tuple):
            raise Misfit(f"info {shown(result[1])}", f"return {RESET}")
    if isinstance(result, tuple) or result is None:
        raise Misfit(_counted(result), f"return {RESET}")
    raise Misfit("the observation alone", f"that is {OLD}; return {RESET}")


def _counted(result: Any) -> str:
    return f"{len(result)} values" if isinstance(result, tuple | list) else shown(result)


def shown(value: Any, most: int = 80) -> str:
    """`value` as one line of at most so many characters, whatever its own `repr` does."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def told(error: BaseException, most: int = 500) -> str:
    """An exception in one line: its type and text; where it has no text, the line of code that raised it."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    if not text:
        frames = traceback.extract_tb(error.__traceback__)
        if not frames:
            return name
        return f"{name} ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}: {frames[-1].line})"[:most]
    return f"{name}: {text if len(text) <= most else f'{text[: most - 3]}...'}"


def is_about(error: BaseException, word: str) -> bool:
    """Whether the line that raised `error` has the word in it, or its text."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, Exception) and word in f"{frames[-1].line if frames else ''} {told(error)}"


def unpacks(error: BaseException) -> bool:
    """Whether a wrapper of Gymnasium's choked on the number of values that what it wraps returned."""
    frames = traceback.extract_tb(error.__traceback__)
    of_gymnasium = bool(frames) and f"{os.sep}gymnasium{os.sep}" in frames[-1].filename
    return isinstance(error, ValueError | TypeError) and of_gymnasium and "unpack" in str(error)
