"""An evaluation says what its record does."""

import numpy as np

from lsp.executors.episodes import record_of
from lsp.training.results import Evaluation
from lsp.types import Episode

EPISODES = [Episode(100.0, 10, True, {"speed": 1.0}, 1.0), Episode(300.0, 20, False, {}, 0.0)]
NOW = {"step": 2_000, "protocol": "mode"}


def test_of_a_record() -> None:
    result = Evaluation.of(NOW | record_of(EPISODES), seed=3)
    assert (result.step, result.protocol, result.seed, result.cut) == (2_000, "mode", 3, 0)
    np.testing.assert_array_equal(result.returns, [100, 300])
    np.testing.assert_array_equal(result.lengths, [10, 20])
    np.testing.assert_array_equal(result.terminated, [True, False])
    np.testing.assert_array_equal(result.success, [1, 0])
    np.testing.assert_array_equal(result.info["speed"], [1, np.nan])
    assert (result.mean, result.std, result.success_rate) == (200, 100, 0.5)
    assert repr(result) == "step 2,000: mode policy returns 200 ± 100 over 2 episodes, success 50%"


def test_of_a_task_that_does_not_say() -> None:
    result = Evaluation.of(NOW | record_of([EPISODES[0]._replace(success=None)]) | {"cut": 1}, seed=0)
    assert result.success is None
    assert np.isnan(result.success_rate)
    assert result.cut == 1
    assert repr(result) == "step 2,000: mode policy returns 100 ± 0 over 1 episodes"
