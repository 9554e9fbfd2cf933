"""Curves and bands are the statistics of the seeds; figures show every group, and say what they show."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lsp.report import curves
from lsp.report.anchors import STUDY
from lsp.report.groups import SeedGroup, group_by_seed
from lsp.report.runs import read_all
from lsp.report.statistics import iqm, mean, stratified_bootstrap_interval
from tests.support.folders import write_run


def groups(folder: Path, *seeds: int, **fields: Any) -> list[SeedGroup]:
    """A group of so many seeds each, told apart by `utd`; seed s returns s, then 10 s."""
    for number, count in enumerate(seeds, start=1):
        for seed in range(count):
            write_run(folder / f"{number}-{seed}", [float(seed), 10.0 * seed], seed=seed, utd=float(number), **fields)
    return group_by_seed(read_all([folder], "sampled"))


def legend(figure: Figure) -> list[str]:
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


def drawn(panel: Axes) -> list[np.ndarray]:
    """Heights of the lines in a panel."""
    return [np.asarray(line.get_ydata()) for line in panel.get_lines()]


@pytest.mark.parametrize("seeds", [1, 2, 3, 4, 8])
def test_center_and_band(tmp_path: Path, seeds: int) -> None:
    (group,) = groups(tmp_path, seeds)
    line = curves.curve(group)
    np.testing.assert_array_equal(line.steps, [1000, 2000])
    scores = np.arange(seeds, dtype=float)
    statistic = iqm if seeds >= 4 else mean
    np.testing.assert_allclose(line.center, [statistic(scores), 10 * statistic(scores)])
    interval = (0, seeds - 1)
    if seeds >= 3:
        interval = stratified_bootstrap_interval(scores[:, None], statistic, resamples=curves.RESAMPLES)
    np.testing.assert_allclose([line.low[1], line.high[1]], np.multiply(interval, 10))


def test_unfinished_seed_ends_the_curve(tmp_path: Path) -> None:
    """Beyond, the line would be of other seeds than before."""
    write_run(tmp_path / "a", [1.0, 2.0, 3.0], seed=0)
    write_run(tmp_path / "b", [5.0], seed=1, steps=3000)
    (group,) = group_by_seed(read_all([tmp_path], "sampled"))
    line = curves.curve(group)
    np.testing.assert_array_equal(line.steps, [1000])
    np.testing.assert_array_equal(line.center, [3])


def test_figure_shows_every_seed_and_group(tmp_path: Path) -> None:
    figure = curves.draw(groups(tmp_path, 3, 1), "mode")
    (panel,) = figure.axes
    assert [len(line) for line in drawn(panel)] == [2] * 5  # three seeds and their mean; one seed
    assert len(panel.collections) == 1
    assert legend(figure) == ["sac_lsp, utd=1 (3 seeds)", "sac_lsp, utd=2 (1 seed)"]
    assert (panel.get_title(), panel.get_xlabel()) == ("lsp/RllabAnt-v0", "environment steps")
    assert panel.get_ylabel() == "return (mean of 2 episodes)"
    assert len({line.get_color() for line in panel.get_lines()}) == 2


def test_panel_for_each_environment(tmp_path: Path) -> None:
    for number in range(4):
        write_run(tmp_path / f"{number}", [1.0, 2.0], env=f"Env-v{number}", seed=number)
    write_run(tmp_path / "more", [1.0, 2.0], env="Env-v0", seed=9)
    figure = curves.draw(group_by_seed(read_all([tmp_path], "sampled")), "sampled", STUDY)
    assert [panel.get_title() for panel in figure.axes] == [f"Env-v{number}" for number in range(4)]
    assert legend(figure) == ["sac_lsp (1 to 2 seeds)"]
    assert [len(drawn(panel)) for panel in figure.axes] == [3, 1, 1, 1]  # no line of the study's: it knows none of them


def test_anchors(tmp_path: Path) -> None:
    figure = curves.draw(groups(tmp_path, 1), "sampled", STUDY)
    (panel,) = figure.axes
    assert sorted(line[0] for line in drawn(panel)[1:]) == [3157.0, 5173.0]
    assert "study: distributed, 2 layers: 5,173" in [text.get_text() for text in panel.texts]


def test_looks_repeat_late(tmp_path: Path) -> None:
    panel = curves.draw(groups(tmp_path, *[1] * 21), "sampled").axes[0]
    assert len({(line.get_color(), str(line._dash_pattern)) for line in panel.get_lines()}) == 21


def test_a_single_evaluation_is_visible(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0])
    panel = curves.draw(group_by_seed(read_all([tmp_path], "sampled")), "sampled").axes[0]
    assert panel.get_lines()[0].get_marker() == "o"


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        ((1, 1), "one seed, sampled policy"),
        ((2,), "line: mean over seeds; band: range of the seeds; thin: each seed; sampled policy"),
        ((1, 3), "line: mean over seeds; band: 95 % bootstrap interval; thin: each seed; sampled policy"),
        ((5,), "line: IQM over seeds; band: 95 % bootstrap interval; thin: each seed; sampled policy"),
        (
            (5, 2),
            "line: IQM over seeds (mean below 4); band: 95 % bootstrap interval (range of 2 seeds); thin: each seed; "
            "sampled policy",
        ),
    ],
)
def test_explanation(tmp_path: Path, seeds: tuple[int, ...], text: str) -> None:
    assert curves.explanation(groups(tmp_path, *seeds), "sampled") == text


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_save(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"curve.{suffix}"
    curves.save(curves.draw(groups(tmp_path / "runs", 2), "fixed_latent"), path)
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")


@pytest.mark.parametrize(
    ("steps", "text"),
    [(0, "0"), (500, "500"), (20_000, "20k"), (999_000, "999k"), (1_000_000, "1M"), (2_500_000, "2.5M")],
)
def test_format_steps(steps: int, text: str) -> None:
    assert curves.format_steps(steps) == text


def test_growth_is_a_step_of_the_curve(tmp_path: Path) -> None:
    """Evaluated before and after at one step, the curve drops there; a line marks it. Seeds of several lengths, too."""
    for seed, count in ((0, 5), (1, 4)):
        returns = [1.0 + seed, 5.0 + seed, 0.0, 3.0, 9.0][:count]
        write_run(tmp_path / str(seed), returns, at=[10, 20, 20, 30, 40][:count], seed=seed, steps=40)
    (group,) = group_by_seed(read_all([tmp_path], "sampled"))
    line = curves.curve(group)
    np.testing.assert_array_equal(line.steps, [10, 20, 20, 30])
    np.testing.assert_array_equal(line.center, [1.5, 5.5, 0, 3])
    panel = curves.draw([group], "sampled").axes[0]
    assert [text.get_text() for text in panel.texts] == ["growth"]
    assert np.asarray(panel.get_lines()[-1].get_xdata()).tolist() == [20, 20]
