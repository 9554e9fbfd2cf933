"""What XLA made of a function, from shapes alone: nothing is allocated, so a ring of a million rows can be checked."""

import math
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

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


def compiled(function: Callable[..., Any], *shapes: Any, donate: int | tuple[int, ...]) -> Any:
    """The program of a function, as users have it."""
    with optimized():
        return jax.jit(function, donate_argnums=donate).lower(*shapes).compile()


def whole_array_copies(
    function: Callable[..., Any], *shapes: Any, donate: int | tuple[int, ...] = 0, min_elements: int
) -> tuple[list[str], int]:
    """Copies and selects of arrays of `min_elements` or more in the compiled code, and its temporaries in bytes."""
    program = compiled(function, *shapes, donate=donate)
    found = re.findall(r"= (\w+\[([\d,]+)\])\S* (copy|select)\(", program.as_text())
    large = [f"{what} {array}" for array, dims, what in found if math.prod(map(int, dims.split(","))) >= min_elements]
    return large, program.memory_analysis().temp_size_in_bytes


FREE = ("parameter", "constant", "bitcast", "tuple", "get-tuple-element")  # no kernels


class Graph(NamedTuple):
    """What a compiled program computes, by name."""

    kinds: dict[str, str]
    operands: dict[str, set[str]]  # what each still waits for
    users: dict[str, list[str]]


def compiled_graph(function: Callable[..., Any], *shapes: Any) -> Graph:
    """The entry computation, with the first argument donated."""
    text = compiled(function, *shapes, donate=0).as_text()
    graph = Graph({}, {}, defaultdict(list))
    for line in text[text.index("\nENTRY") :].splitlines():
        if found := re.match(r"\s+(?:ROOT )?%(\S+) = .*? ([a-z-]+)\(([^)]*)\)", line):
            name, graph.kinds[found[1]] = found[1], found[2]
            graph.operands[name] = set(re.findall(r"%([^\s,]+)", found[3]))
            for operand in graph.operands[name]:
                graph.users[operand].append(name)
    return graph


def ready_at_once(function: Callable[..., Any], *shapes: Any) -> int:
    """How many kernels wait, at most, while another starts: XLA's CPU runtime gives half of nine to a second thread.

    Kernels run first come, first served, once their inputs are there; a buffer that two of them share only delays.
    """
    graph, queue, most = compiled_graph(function, *shapes), deque[str](), 0

    def arrive(name: str) -> None:
        if graph.kinds[name] in FREE:
            leave(name)
        else:
            queue.append(name)

    def leave(name: str) -> None:
        for user in graph.users[name]:
            graph.operands[user].remove(name)
            if not graph.operands[user]:
                arrive(user)

    for name in [name for name, operands in graph.operands.items() if not operands]:
        arrive(name)
    while queue:
        name = queue.popleft()
        most = max(most, len(queue))
        leave(name)
    assert not any(graph.operands.values())
    return most
