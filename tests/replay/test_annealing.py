"""The exponent of importance weights grows in a line, by steps or by epochs, or as the study's code had it."""

import jax.numpy as jnp
import numpy as np
import pytest

from lsp.replay.annealing import anneal, anneal_as_coded


@pytest.mark.parametrize(
    ("every", "updates", "beta"),
    [
        (1, [0, 1, 2_500, 9_999, 10_000, 10**6], [0.4, 0.40006, 0.55, 0.99994, 1.0, 1.0]),
        (1_000, [0, 999, 1_000, 2_500, 9_999, 10_000, 10**6], [0.4, 0.4, 0.46, 0.52, 0.94, 1.0, 1.0]),
    ],
)
def test_a_straight_line(every: int, updates: list[int], beta: list[float]) -> None:
    np.testing.assert_allclose(anneal(0.4, 1.0, 10_000, every)(jnp.array(updates)), beta, rtol=1e-6)


def test_the_study_s_slip() -> None:
    """Its loop, with 10,001 epochs of 1,000 updates."""
    beta, betas = 0.4, []
    for _ in range(4):
        betas.append(beta)
        if beta <= 1:
            beta += (1 - 0.4) / 10_001 + 1
    assert round(betas[1], 5) == 1.40006
    schedule = anneal_as_coded(0.4, 1.0, 10_001_000)
    np.testing.assert_allclose(schedule(jnp.arange(0, 4_000, 1_000)), betas, rtol=1e-6)
    np.testing.assert_allclose(schedule(jnp.array([999, 10**7])), [0.4, betas[1]], rtol=1e-6)
