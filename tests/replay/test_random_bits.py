"""Random words are those of `jax.random.bits`, to the last bit."""

import jax
import numpy as np
import pytest

from lsp.replay.random_bits import bits


@pytest.mark.parametrize("shape", [(), (1,), (7,), (128,), (2, 128), (3, 1, 5), (0,)])
def test_the_words_of_jax(shape: tuple[int, ...]) -> None:
    for seed in (0, 1, 2**31 - 1):
        key = jax.random.key(seed)
        for function in (bits, jax.jit(bits, static_argnums=1)):
            words = function(key, shape)
            assert (words.shape, words.dtype) == (shape, np.uint32)
            np.testing.assert_array_equal(words, jax.random.bits(key, shape))


def test_under_vmap() -> None:
    keys = jax.random.split(jax.random.key(3), 4)
    expected = jax.vmap(lambda key: jax.random.bits(key, (9,)))(keys)
    np.testing.assert_array_equal(jax.vmap(lambda key: bits(key, (9,)))(keys), expected)


def test_keys_of_other_kinds() -> None:
    old, other = jax.random.PRNGKey(5), jax.random.key(5, impl="rbg")
    for key in (old, other):
        np.testing.assert_array_equal(bits(key, (4,)), jax.random.bits(key, (4,)))


def test_no_loop() -> None:
    """Or it would be worth nothing: on CPU `jax.random.bits` has one."""
    text = {f: jax.jit(f, static_argnums=1).lower(jax.random.key(0), (8,)).as_text() for f in (bits, jax.random.bits)}
    assert "while" not in text[bits]
    assert "while" in text[jax.random.bits]
