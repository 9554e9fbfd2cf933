"""Running statistics: chunk by chunk they equal the moments of all rows at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp import normalizers
from lsp.normalizers import MAX_COUNT, Moments

update = jax.jit(normalizers.update)


def merge(chunks: list[np.ndarray], shape: tuple[int, ...]) -> Moments:
    moments = normalizers.init(shape)
    for chunk in chunks:
        moments = update(moments, chunk)
    return moments


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("sizes", [[60], [1, 59], [1] * 60, [20, 1, 39]])
def test_chunks_merge_to_the_moments_of_all_rows(
    sizes: list[int], shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    rows = rng.normal(3.0, 2.0, (60, *shape))
    moments = merge(np.split(rows, np.cumsum(sizes)[:-1]), shape)
    assert moments.count == 60
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, rows.var(axis=0), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_order_of_chunks_does_not_matter(rng: np.random.Generator) -> None:
    chunks = [rng.normal(i, 1.0, (n, 2)) for i, n in enumerate((4, 1, 7))]
    for a, b in zip(merge(chunks, (2,)), merge(chunks[::-1], (2,)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_no_data_normalizes_nothing() -> None:
    x = np.float32([[0.5, -2.0]])
    np.testing.assert_array_equal(normalizers.normalize(normalizers.init((2,)), x), x)


@pytest.mark.usefixtures("x64")
def test_the_past_fades_beyond_the_largest_count() -> None:
    """With the count at its bound every new row weighs 1/(bound + 1), as in an exponential average."""
    full = Moments(jnp.asarray(MAX_COUNT), jnp.zeros(1), jnp.ones(1))
    moments = update(full, np.array([[2.0]]))
    share = 1 / (MAX_COUNT + 1)
    assert moments.count == MAX_COUNT
    np.testing.assert_allclose(moments.mean, [2 * share], rtol=1e-9)
    np.testing.assert_allclose(moments.variance, [(1 - share) * (1 + 4 * share)], rtol=1e-12)


@pytest.mark.parametrize("rows_a_chunk", [1, 16])
def test_single_precision_drifts_little_over_a_million_rows(rows_a_chunk: int, rng: np.random.Generator) -> None:
    """Of an offset thirty times the spread, in float32."""
    rows = rng.normal([30.0, 0.0], [1.0, 0.01], (1_000_000, 2)).astype(np.float32)

    @jax.jit
    def fold(chunks: jax.Array) -> Moments:
        step = lambda moments, chunk: (normalizers.update(moments, chunk), None)  # noqa: E731
        return jax.lax.scan(step, normalizers.init((2,)), chunks)[0]

    moments = fold(rows.reshape(-1, rows_a_chunk, 2))
    std = rows.std(axis=0, dtype=np.float64)
    assert moments.count == 1_000_000
    np.testing.assert_allclose((moments.mean - rows.mean(axis=0, dtype=np.float64)) / std, 0, atol=0.02)
    np.testing.assert_allclose(np.sqrt(moments.variance) / std, 1, atol=0.02)


def test_a_constant_input_becomes_zero() -> None:
    moments = merge([np.full((5, 2), 7.0, np.float32)] * 3, (2,))
    np.testing.assert_array_equal(moments.variance, [0.0, 0.0])
    np.testing.assert_array_equal(normalizers.normalize(moments, np.full((4, 2), 7.0, np.float32)), np.zeros((4, 2)))


def test_normalize_by_hand() -> None:
    """Centred, scaled, clipped at 10 standard deviations; a spread below 0.01 counts as 0.01."""
    moments = Moments(jnp.asarray(9.0), jnp.asarray([1.0, 0.0]), jnp.asarray([4.0, 1e-8]))
    x = np.float32([[[5.0, 0.02]], [[-99.0, 0.5]]])
    np.testing.assert_allclose(normalizers.normalize(moments, x), [[[2.0, 2.0]], [[-10.0, 10.0]]], rtol=1e-6)
    np.testing.assert_allclose(normalizers.normalize(moments, x, clip=3.0, min_std=1.0)[1, 0], [-3.0, 0.5], rtol=1e-6)
