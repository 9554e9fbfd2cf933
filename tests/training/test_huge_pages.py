"""Advice about pages is given for whole huge pages inside large arrays, and changes no number."""

import ctypes
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.training import huge_pages


def test_large_arrays_alone_are_advised_and_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {"rows": jnp.arange(huge_pages.LEAST // 4, dtype=jnp.float32), "few": jnp.arange(10), "none": None}
    calls: list[tuple[int, int, int]] = []
    madvise = ctypes.CDLL(None).madvise

    class Recorded:
        argtypes = None

        def __call__(self, *arguments: int) -> int:
            calls.append(arguments)  # type: ignore[arg-type]
            return int(madvise(ctypes.c_void_p(arguments[0]), ctypes.c_size_t(arguments[1]), arguments[2]))

    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(madvise=Recorded()))
    monkeypatch.setattr("sys.platform", "linux")
    assert huge_pages.advise(tree) is tree
    assert [call[2] for call in calls] == list(huge_pages.ADVICE)
    begin = tree["rows"].addressable_shards[0].data.unsafe_buffer_pointer()
    for address, length, _ in calls:
        assert address % huge_pages.PAGE == length % huge_pages.PAGE == 0
        assert begin <= address < address + length <= begin + huge_pages.LEAST
        assert length >= huge_pages.LEAST - 2 * huge_pages.PAGE
    np.testing.assert_array_equal(tree["rows"], np.arange(huge_pages.LEAST // 4, dtype=np.float32))


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("asked the system"))
    tree = [jax.ShapeDtypeStruct((huge_pages.LEAST,), jnp.float32)]
    assert huge_pages.advise(tree) is tree
