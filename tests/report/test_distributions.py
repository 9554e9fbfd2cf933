"""The picture of predicted return laws against the returns that followed."""

from pathlib import Path

import numpy as np
import pytest

from lsp import run
from lsp.report import command as report
from lsp.report import distributions
from lsp.storage import metrics
from tests.support.runs import command, compiled_once  # noqa: F401  # a fixture


def test_returns_count_the_entropy_terms_that_targets_count(rng: np.random.Generator) -> None:
    """Step by step: those of every n-th action, and none of the first."""
    rewards, costs = rng.normal(size=(2, 9))
    for n_step in (1, 3):
        followed = distributions.returns(rewards, costs, 0.9, n_step, last=5.0)
        for t in range(9):
            left = 9 - t
            plain = sum(0.9**k * rewards[t + k] for k in range(left)) + 0.9**left * 5.0
            entropy = sum(0.9**k * costs[t + k] for k in range(n_step, left, n_step))
            assert followed[t] == pytest.approx(plain - entropy)


def played(peaks: np.ndarray) -> distributions.Played:
    """Distributions on three atoms, 10 apart, whose highest probability is `peaks` [T]."""
    atoms = np.array([0.0, 10.0, 20.0])
    probs = np.stack([(1 - peaks) / 2, peaks, (1 - peaks) / 2], axis=-1)
    return distributions.Played("Env-v0", 5_000, atoms, probs, probs @ atoms, np.linspace(3, 12, len(peaks)), True)


def test_thin_distributions_are_visible_beside_certain_ones(tmp_path: Path) -> None:
    """One step in five is certain; all others get the full shade, and not some of it. The legend hides nothing."""
    episode = played(np.where(np.arange(50) % 5 == 0, 1.0, 0.6))
    figure = distributions.draw(episode)
    axes, bar = figure.axes
    (shades,) = axes.collections
    assert shades.get_clim() == (0, pytest.approx(0.6 / 10)), "the middle atom stands for 10 of return"
    assert bar.get_ylabel() == "probability density of the return"
    assert axes.get_legend() is None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["predicted mean", "return that followed"]
    mean, followed = axes.get_lines()
    np.testing.assert_array_equal(mean.get_ydata(), episode.means)
    np.testing.assert_array_equal(followed.get_ydata(), episode.returns)
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().y1 <= axes.get_window_extent().y0


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
def test_a_picture_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Atoms so narrow that they widen at once: what is drawn is in units of reward, so that the return fits on them."""
    flags = {"critic__kind": "categorical", "replay__kind": "prioritized", "replay__priority": "kl"}
    flags |= {"critic__v_min": "-0.1", "critic__v_max": "0.1"}
    assert run.main(command(tmp_path / "laws", steps=80, agent="categorical", **flags)) == 0
    capsys.readouterr()
    assert report.main(["--distributions", str(tmp_path / "laws")]) == 0
    assert "lsp/RllabAnt-v0, checkpoint at step 80" in capsys.readouterr().out
    assert (tmp_path / "laws" / "plots" / "distributions.png").read_bytes()[:4] == b"\x89PNG"
    played = distributions.play(tmp_path / "laws")
    np.testing.assert_allclose(played.probs.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(played.probs @ played.support, played.means, atol=1e-2)
    assert len(played.means) == len(played.returns) <= 40
    scale = metrics.read(tmp_path / "laws" / "metrics.jsonl")[-1]["support_scale"]
    assert scale > 1
    np.testing.assert_allclose(played.support[[0, -1]], [-0.1 * scale, 0.1 * scale], rtol=1e-6)


def test_only_runs_of_categorical_critics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lsp.config import Config, to_dict
    from lsp.storage.run_folder import write_document

    write_document(tmp_path / "scalar", {"config": to_dict(Config())})
    assert report.main(["--distributions", str(tmp_path / "scalar")]) == 2
    assert "--distributions needs critics that predict distributions" in capsys.readouterr().err
    assert report.main(["--distributions", str(tmp_path), str(tmp_path)]) == 2
    assert "--distributions draws one run" in capsys.readouterr().err
