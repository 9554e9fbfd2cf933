"""What every test runs under: two fake CPU devices, and an error where arrays of different rank would broadcast.

XLA compiles in haste here: the programs are the same, only slower."""

import ctypes.util
import os
import tempfile
from collections.abc import Iterator

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2".strip()
# Where libEGL is missing, MUJOCO_GL=egl does not stop rendering alone: `import mujoco` itself fails.
os.environ["MUJOCO_GL"] = "egl" if ctypes.util.find_library("EGL") else "disabled"

# Compiling takes most of the tests' time; what must be compiled as for users asks for it (`compiled_fully`).
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# What one test compiles the others find, in other workers and in the commands that tests start, too.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="lsp-compiled-"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# JAX reads its environment when imported, so these imports stay below the assignments.
import jax
import numpy as np
import pytest

from tests.support.hlo import optimized

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 within the test, for laws that float32 rounding would blur."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def compiled_fully() -> Iterator[None]:
    """Full optimization, for tests that run longer than they compile."""
    with optimized():
        yield


@pytest.fixture
def key() -> jax.Array:
    """A fixed JAX key."""
    return jax.random.key(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A fixed NumPy generator."""
    return np.random.default_rng(0)
