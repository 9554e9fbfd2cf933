"""Ensembles without a state: those of `lsp.networks`, whether they train or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.agents.critics.perceptrons import make_perceptrons
from lsp.config import CriticConfig


@pytest.mark.slow
def test_training_evaluates_the_same_network_and_keeps_nothing() -> None:
    observation, action = jnp.ones((5, 3)), jnp.ones((5, 2))
    config = CriticConfig(count=3, hidden_sizes=(8, 8))
    for ensemble, inputs, count in zip(
        make_perceptrons(config, num_outputs=4), ((observation, action), (observation,)), (3, 1), strict=True
    ):
        examples = [x[0] for x in inputs]
        params = ensemble.init(jax.random.key(0), *examples)
        assert ensemble.init_state(params, *examples) == ()
        outputs, state = ensemble.train(params, (), *inputs)
        assert outputs.shape == (count, 5, 4)
        assert state == ()
        np.testing.assert_array_equal(outputs, ensemble.apply(params, (), *inputs))
