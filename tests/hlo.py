"""What XLA made of a function, from shapes alone: nothing is allocated, so a ring of a million rows can be checked."""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax


@contextmanager
def optimized() -> Iterator[None]:
    """What is compiled inside is compiled as it is for users, not in haste as elsewhere in the tests."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def whole_array_copies(
    function: Callable[..., Any], *shapes: Any, donate: int | tuple[int, ...] = 0, min_elements: int
) -> tuple[list[str], int]:
    """Copies and selects of arrays of `min_elements` or more in the compiled code, and its temporaries in bytes."""
    with optimized():
        program = jax.jit(function, donate_argnums=donate).lower(*shapes).compile()
    found = re.findall(r"= (\w+\[([\d,]+)\])\S* (copy|select)\(", program.as_text())
    large = [f"{what} {array}" for array, dims, what in found if math.prod(map(int, dims.split(","))) >= min_elements]
    return large, program.memory_analysis().temp_size_in_bytes
