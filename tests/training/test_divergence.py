"""The first number that is not finite is named, with the step and what to do."""

from pathlib import Path

import numpy as np
import pytest

from lsp.training.divergence import Diverged, diverged, require_finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_leaf_is_named(value: float) -> None:
    tree = {"fine": np.ones(3), "params": {"kernel": np.array([[1.0, value]])}, "worse": np.float32(np.nan)}
    with pytest.raises(Diverged) as caught:
        require_finite(tree, 1_234, Path("runs/a"))
    text = str(caught.value)
    assert text == str(diverged(f"params.kernel is {value}", 1_234, Path("runs/a")))
    assert text.startswith(f"training diverged: params.kernel is {value} at step 1,234; checkpoints in runs/a/")
    assert "\n" not in text


def test_finite_numbers_pass() -> None:
    require_finite({"a": np.zeros(2), "b": [1.0, 3]}, 1, Path("."))
