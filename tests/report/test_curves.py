"""Curves and bands are the statistics of the seeds; figures show every group, and say what they show."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lsp.report import curves, looks
from lsp.report.anchors import STUDY
from lsp.report.groups import SeedGroup, group_by_seed
from lsp.report.runs import read_all
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
    titles = [f"Env-v{number}: sac_lsp, {'2 seeds' if number == 0 else '1 seed'}" for number in range(4)]
    assert [panel.get_title() for panel in figure.axes] == titles
    assert legend(figure) == [], "of one curve a panel there is no legend: the titles say what they are"
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
        ((1,), "one seed, sampled policy"),
        ((1, 1), "one seed each, sampled policy"),
        ((1, 3), "line: mean over seeds; band: their range; thin: each seed; sampled policy"),
        ((5,), "line: IQM over seeds; band: 95 % bootstrap interval; thin: each seed; sampled policy"),
        (
            (5, 2),
            "line: IQM over seeds (mean below 5); band: 95 % bootstrap interval (range below 5); thin: each seed; "
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


def test_growth_is_marked(tmp_path: Path) -> None:
    """Of a run on its own: no other shares its past, and there is one panel."""
    write_run(tmp_path / "a", [1.0, 5.0, 0.0, 3.0], at=[10, 20, 20, 30])
    (panel,) = curves.draw(group_by_seed(read_all([tmp_path], "sampled")), "sampled").axes
    assert [text.get_text() for text in panel.texts] == ["growth"]
    assert np.asarray(panel.get_lines()[-1].get_xdata()).tolist() == [20, 20]


def test_what_arms_share_is_drawn_once_and_their_differences_beside_it(tmp_path: Path) -> None:
    """Seeds 0 and 1 return 1, 2 and then, grown, 4 and 8 at step 30; the flat ones 3."""
    for seed in (0, 1):
        flat, grown = {"seed": seed}, {"seed": seed, "layers": 2, "layer_steps": [2000, 1000]}
        write_run(tmp_path / f"flat{seed}", [1.0, 2.0, 3.0], **flat)
        write_run(tmp_path / f"grown{seed}", [1.0, 2.0, 2.0, 4.0 + 4 * seed], at=[1000, 2000, 2000, 3000], **grown)
    figure = curves.draw(group_by_seed(read_all([tmp_path], "sampled")), "sampled")
    left, right = figure.axes
    gray = [line for line in left.get_lines() if line.get_color() == looks.GRAY and len(line.get_xdata()) == 2]
    shared = [line for line in gray if list(line.get_xdata()) == [1000, 2000]]
    assert [list(line.get_ydata()) for line in shared] == [[1, 2]] * 3, "two seeds and their mean, of all arms together"
    colored = [line for line in left.get_lines() if line.get_color() != looks.GRAY]
    assert min(min(line.get_xdata()) for line in colored) == 2000
    assert len(left.collections) == 1, "one band, of what is shared"
    assert legend(figure) == ["flat policy (2 seeds)", "growth without waste (2 seeds)"]
    assert right.get_title() == "difference to flat policy"
    assert right.get_ylabel() == "return minus that of the same seed"
    differences = [list(line.get_ydata()) for line in right.get_lines() if list(line.get_xdata()) == [2000, 3000]]
    assert differences == [[0, 1], [0, 5], [0, 3]]
    assert left.get_xlim()[0] == 1000, "as much before growth as after it"


def test_goals_are_success_rates_unless_returns_are_asked_for(tmp_path: Path) -> None:
    for number, kind in enumerate(("hindsight", "none")):
        write_run(tmp_path / kind, [1.0, 2.0], env="lsp/Reacher2D-v0", goals__kind=kind, seed=number)
    found = group_by_seed(read_all([tmp_path], "sampled"))
    figure = curves.draw(found, "sampled")
    (panel,) = figure.axes
    assert panel.get_ylabel() == "success rate (mean of 2 episodes)"
    assert [line.tolist() for line in drawn(panel)] == [[0.75, 0.75]] * 2
    low, high = panel.get_ylim()
    assert low < 0 < 1 < high < 1.1
    assert legend(figure) == ["with hindsight (1 seed)", "without hindsight (1 seed)"]
    (panel,) = curves.draw(found, "sampled", y="return").axes
    assert [line.tolist() for line in drawn(panel)] == [[1, 2]] * 2


@pytest.mark.parametrize(
    ("x", "label", "places"),
    [
        ("steps", "environment steps", [1000, 2000]),
        ("updates", "updates", [500, 1500]),
        ("minutes", "wall-clock minutes, evaluations included", [2 / 60, 4 / 60]),
    ],
)
def test_what_a_curve_runs_along(x: str, label: str, places: list[float], tmp_path: Path) -> None:
    (panel,) = curves.draw(groups(tmp_path, 1), "sampled", x=x).axes
    assert panel.get_xlabel() == label
    np.testing.assert_allclose(panel.get_lines()[0].get_xdata(), places)
