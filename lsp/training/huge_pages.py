"""Huge pages under large arrays on CPU: replay's rows are read at random, and most of that is looking up pages.

Linux only, and only where the system leaves the choice to programs (`transparent_hugepage/enabled`); elsewhere nothing
happens. It is advice: no result depends on it.
"""

import ctypes
import sys
from typing import TypeVar

import jax

T = TypeVar("T")

PAGE = 2**21  # bytes
LEAST = 8 * PAGE
ADVICE = (14, 25)  # MADV_HUGEPAGE, for pages to come; MADV_COLLAPSE (Linux 6.1), for those that are there


def advise(tree: T) -> T:
    """Ask for huge pages under every array of 16 MiB or more, and return `tree`. Donated, arrays keep them."""
    if sys.platform != "linux" or jax.default_backend() != "cpu":
        return tree
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for leaf in jax.tree.leaves(tree):
        for shard in leaf.addressable_shards if leaf.nbytes >= LEAST else ():
            first = -(-shard.data.unsafe_buffer_pointer() // PAGE) * PAGE
            end = (shard.data.unsafe_buffer_pointer() + shard.data.nbytes) // PAGE * PAGE
            for advice in ADVICE if end > first else ():
                madvise(first, end - first, advice)  # a refusal changes nothing
    return tree
