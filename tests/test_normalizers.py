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
    """Centred, scaled, clipped at 10 standard deviations."""
    moments = Moments(jnp.asarray(9.0), jnp.asarray([1.0, 0.0]), jnp.asarray([4.0, 1e-8]))
    x = np.float32([[[5.0, 0.0002]], [[-99.0, 0.5]]])
    np.testing.assert_allclose(normalizers.normalize(moments, x), [[[2.0, 2.0]], [[-10.0, 10.0]]], rtol=1e-6)
    np.testing.assert_allclose(normalizers.normalize(moments, x, clip=3.0)[1, 0], [-3.0, 3.0], rtol=1e-6)


@pytest.mark.parametrize("rows_a_chunk", [1, 8, 512])
@pytest.mark.parametrize(
    ("mean", "std"),
    [(0, 1), (0, 1e-3), (0, 1e-4), (0, 1e-6), (0, 1e-8), (0, 1e6), (1e-4, 1e-6), (1000, 0.01), (-1e6, 10)],
)
def test_the_unit_of_the_observation_does_not_matter(
    mean: float, std: float, rows_a_chunk: int, rng: np.random.Generator
) -> None:
    """What networks see is centred and has a spread of one, in any unit that float32 can tell apart."""
    rows = rng.normal(mean, std, (4096, 1)).astype(np.float32)
    moments = merge(list(rows.reshape(-1, rows_a_chunk, 1)[:512]), (1,))
    seen = np.asarray(normalizers.normalize(moments, rows))
    assert np.std(seen) == pytest.approx(1, abs=0.15)
    assert abs(np.mean(seen)) < 0.2


def noise(size: float, rng: np.random.Generator) -> np.ndarray:
    """A constant, apart from its last bits."""
    return (size * (1 + rng.choice([-1e-7, 0.0, 1e-7], (2048, 1)))).astype(np.float32)


@pytest.mark.parametrize("rows_a_chunk", [1, 8, 64])
@pytest.mark.parametrize("size", [0.1, 1.0, 9.81, 1e6, -1.7e9])
def test_rounding_is_no_signal(size: float, rows_a_chunk: int, rng: np.random.Generator) -> None:
    """Neither of a constant that is exact nor of one that jitters in its last bits."""
    for rows in (np.full((2048, 1), size, np.float32), noise(size, rng)):
        moments = merge(list(rows.reshape(-1, rows_a_chunk, 1)), (1,))
        assert np.abs(normalizers.normalize(moments, rows)).max() < 1e-3


def test_what_rounding_leaves_of_zero_is_no_signal(rng: np.random.Generator) -> None:
    rows = rng.choice([-1e-16, 0.0, 1e-16], (512, 1)).astype(np.float32)
    moments = merge(list(rows.reshape(-1, 8, 1)), (1,))
    assert np.abs(normalizers.normalize(moments, rows)).max() < 1e-3


@pytest.mark.parametrize("touch", [1e-3, 1.0, 500.0])
def test_what_is_zero_until_a_first_touch_stays_bounded(touch: float) -> None:
    """Before the moments know of it it keeps its unit; after, it is as many standard deviations as it is rare."""
    moments = merge([np.zeros((8, 1), np.float32)] * 100, (1,))
    assert normalizers.normalize(moments, np.float32([touch])) == min(touch, 10)
    moments = update(moments, np.float32([[touch]] + [[0]] * 7))
    seen = normalizers.normalize(moments, np.float32([[0], [touch]]))
    np.testing.assert_allclose(seen, [[0], [10]], atol=0.05)
