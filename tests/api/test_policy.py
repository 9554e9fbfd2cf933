"""A policy acts as the exported one does, one observation or many."""

from pathlib import Path

import numpy as np
import pytest

import lsp
from lsp import export
from tests.support.policies import untrained


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> lsp.Run:
    return lsp.load(untrained(tmp_path_factory.mktemp("runs") / "run", layers=2))


def test_act(run: lsp.Run, rng: np.random.Generator) -> None:
    observations, policy = rng.normal(size=(5, 3)), export.load_policy(run.folder)
    actions = run.policy.act(observations)
    assert actions.shape == (5, 1)
    np.testing.assert_array_equal(actions, policy(observations))
    np.testing.assert_allclose(run.policy.act(observations[2]), actions[2], rtol=1e-5)
    np.testing.assert_array_equal(run.policy.act(observations, key=7), policy(observations, 7))
    assert not np.allclose(run.policy(observations, key=7), actions)
    with pytest.raises(ValueError, match="its last axis must be 3"):
        run.policy.act(np.zeros(4))


def test_it_says_what_it_is(run: lsp.Run) -> None:
    assert repr(run.policy) == "Policy of step 100: 3 observations to 1 actions, 2 layers"


def test_it_is_read_once(run: lsp.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Until there is a newer checkpoint."""
    loaded = run.policy
    assert run.policy is loaded
    monkeypatch.setattr(type(run), "step", 200)
    assert run.policy is not loaded
