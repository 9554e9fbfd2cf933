"""Observations of any shape as vectors f32[S].

A `Box` is laid out row by row. A `Dict` or `Tuple` is its parts one after the other, in the order of
`gymnasium.spaces.flatten`: of a `Dict` that of its `spaces`, which Gymnasium sorts by key where they were given in a
plain dict. Inside of a `Dict`, a `Discrete` is one-hot, a `MultiDiscrete` several of these, a `MultiBinary` as it is.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from lsp.envs.checks import LARGEST, Misfit, shown

# A number that float32 does not hold becomes an error of ours, which says more than NumPy's warning.
warnings.filterwarnings("ignore", ".* encountered in ", RuntimeWarning, r"lsp\.envs\.flatten")

CHANNELS = (1, 3, 4)  # of pictures
LEAST_SIDE = 8  # pixels; a box of three axes with smaller sides is taken for numbers


class Part(NamedTuple):
    """One box of numbers in an observation."""

    path: tuple[Any, ...]  # keys and indices that lead to it
    space: spaces.Space[Any]
    place: slice  # of its numbers in the vector

    @property
    def name(self) -> str:
        """As one would write it in Python."""
        return "observation" + "".join(f"[{key!r}]" for key in self.path)


def problem(space: spaces.Space[Any]) -> str | None:
    """Why observations of `space` are not supported; None where they are."""
    if not isinstance(space, spaces.Box | spaces.Dict | spaces.Tuple):
        return f"{type(space).__name__} observations are not supported; a Box of numbers is needed"
    kind = f"{type(space).__name__} observations: " if not isinstance(space, spaces.Box) else ""
    for path, leaf in leaves(space):
        wrong = _leaf_problem(leaf, inside_dict=isinstance(space, spaces.Dict))
        if wrong:
            return f"{kind}{'.'.join(map(str, path))}{': ' if path else ''}{wrong}"
    if sum(_size(leaf) for _, leaf in leaves(space)) == 0:
        return f"{kind}observations without any number are not supported"
    return None


def _leaf_problem(space: spaces.Space[Any], inside_dict: bool) -> str | None:
    countable = spaces.Discrete | spaces.MultiBinary | spaces.MultiDiscrete
    if isinstance(space, spaces.Box):
        if is_picture(space):
            return f"image observations {space.shape} are not supported; choose an environment with a vector of numbers"
        return None
    if inside_dict and isinstance(space, countable):
        return None
    return f"{type(space).__name__} is not supported; a Box of numbers is needed"


def is_picture(space: spaces.Box) -> bool:
    """Whether the numbers are pixels: bytes in two axes or more, or two long axes and one of color channels."""
    if space.dtype == np.uint8 and len(space.shape) > 1:
        return True
    if len(space.shape) != 3:
        return False
    first, middle, last = space.shape
    sides = (first, middle) if last in CHANNELS else (middle, last) if first in CHANNELS else (0, 0)
    return min(sides) >= LEAST_SIDE


def leaves(space: spaces.Space[Any], path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], spaces.Space[Any]]]:
    """Everything in `space` that is neither a `Dict` nor a `Tuple`, in order, with the keys that lead there."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from leaves(part, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for index, part in enumerate(space.spaces):
            yield from leaves(part, (*path, index))
    else:
        yield path, space


def _size(space: spaces.Space[Any]) -> int:
    return math.prod(space.shape or ()) if isinstance(space, spaces.Box) else spaces.flatdim(space)


class Reader:
    """Turns what an environment returns as observation into a vector f32[S], or says why it cannot."""

    def __init__(self, space: spaces.Space[Any], keys: Sequence[str] | None = None) -> None:
        """For observations of `space`, which has no `problem`; of a `Dict`, `keys` are those to read, in order."""
        found = leaves(space)
        if keys is not None:
            assert isinstance(space, spaces.Dict)
            found = (leaf for key in keys for leaf in leaves(space[key], (key,)))
        self.parts: list[Part] = []
        self.size = 0
        for path, leaf in found:
            self.parts.append(Part(path, leaf, slice(self.size, self.size + _size(leaf))))
            self.size += _size(leaf)
        plain = isinstance(space, spaces.Box) and len(space.shape) == 1
        self._shape = space.shape if plain else None  # of the usual case

    def read(self, raw: Any) -> np.ndarray:
        """The vector, which shares no memory with `raw`. Raises Misfit."""
        try:
            # Compared by what is cheap. A copy, always: some environments return the same array again and again.
            if type(raw) is np.ndarray and raw.shape == self._shape and raw.dtype.kind == "f":
                vector = raw.astype(np.float32)
            else:
                vector = self._assembled(raw)
            if isfinite(vector.dot(vector)):
                return vector
        except (RuntimeWarning, FloatingPointError):  # where someone made errors of warnings
            with np.errstate(all="ignore"):
                vector = self._assembled(raw)
        # The square is the cheap test; it may also overflow, so only the full test convicts.
        if not np.isfinite(vector).all():
            raise self._not_finite(raw, vector)
        return vector

    def _assembled(self, raw: Any) -> np.ndarray:
        vector = np.empty(self.size, np.float32)
        for part in self.parts:
            vector[part.place] = _numbers(part, _look_up(raw, part.path)).ravel()
        return vector

    def _not_finite(self, raw: Any, vector: np.ndarray) -> Misfit:
        entries = np.flatnonzero(~np.isfinite(vector))
        first = int(entries[0])
        part = next(part for part in self.parts if part.place.start <= first < part.place.stop)
        index = first - part.place.start
        value = float(_numbers(part, _look_up(raw, part.path)).ravel()[index])
        entry = f"entry {index}{f' of {part.name}' if part.path else ''} is"
        count = f"{len(entries)} of {self.size} observation entries"
        if isfinite(value):
            limit = f"float32, in which training computes, holds numbers up to {LARGEST:.3g}: scale it down"
            return Misfit(f"{count} beyond float32 ({entry} {value})", limit)
        return Misfit(f"{count} not finite ({entry} {value})")


def _look_up(raw: Any, path: tuple[Any, ...]) -> Any:
    for depth, key in enumerate(path):
        name = Part(path[:depth], spaces.Space(), slice(0)).name
        if isinstance(key, str) and isinstance(raw, Mapping):
            if key not in raw:
                raise Misfit(f"an {name} without {key!r}", f"it has {', '.join(map(str, raw)) or 'nothing'}")
        elif isinstance(key, str):
            raise Misfit(f"{_an(name)} {shown(raw)}", f"a dict with {key!r} in it was declared")
        elif not (isinstance(raw, tuple | list) and key < len(raw)):
            raise Misfit(f"{_an(name)} {shown(raw)}", f"a tuple of more than {key} values was declared")
        raw = raw[key]
    return raw


def _an(name: str) -> str:
    return f"an {name}" if name == "observation" else name


def _numbers(part: Part, raw: Any) -> np.ndarray:
    """The numbers of one part as an array of any dtype of numbers. Raises Misfit."""
    space, name = part.space, part.name
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return _one_hot(name, space, raw)
    declared = space.shape or ()
    try:
        array = np.asarray(raw)
    except Exception:  # ragged, or an object that cannot be an array
        raise Misfit(f"{name} {shown(raw)}", _wanted(declared)) from None
    if array.dtype.kind == "O":
        array = _of_objects(name, array, declared, raw)
    if array.dtype.kind not in "fiub":
        kind = f"of dtype {array.dtype}" if array.ndim else shown(raw)
        raise Misfit(f"{name} {kind}{_value(array)}", _wanted(declared))
    if array.shape != declared and not _fits(array.shape, declared):
        raise Misfit(f"{_an(name)} of shape {array.shape}", _wanted(declared))
    return array


def _one_hot(name: str, space: spaces.Discrete | spaces.MultiDiscrete, raw: Any) -> np.ndarray:
    try:
        value = np.asarray(raw).reshape(space.shape)
        if value.dtype.kind in "iu" and space.contains(value):
            return np.asarray(spaces.flatten(space, value))
    except Exception as error:
        raise Misfit(f"{name} {shown(raw)}", f"it must be one of {space}") from error
    raise Misfit(f"{name} {shown(raw)}", f"it must be one of {space}")


def _fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    """Whether the same numbers in the same order are meant: one is a vector, or axes of length one tell them apart."""
    if math.prod(shape) != math.prod(declared):
        return False
    longer, wanted = ([side for side in sides if side != 1] for sides in (shape, declared))
    return len(longer) <= 1 or len(wanted) <= 1 or longer == wanted


def _of_objects(name: str, array: np.ndarray, declared: tuple[int, ...], raw: Any) -> np.ndarray:
    """Numbers that came as Python's objects."""
    if array.shape == ():
        raise Misfit(f"{name} {shown(raw)}", _wanted(declared))
    for index, item in enumerate(array.ravel()):
        if not isinstance(item, Real | np.bool_):
            raise Misfit(f"an {name} whose entry {index} is {shown(item)}", _wanted(declared))
    return np.array([_float(item) for item in array.ravel()]).reshape(array.shape)


def _float(item: Any) -> float:
    try:
        return float(item)
    except OverflowError:  # whole numbers beyond float64
        return math.inf


def _value(array: np.ndarray) -> str:
    return f" (entry 0 is {shown(array.ravel()[0].item())})" if array.ndim and array.size else ""


def _wanted(declared: tuple[int, ...]) -> str:
    return f"{math.prod(declared)} numbers of shape {declared} were declared"
