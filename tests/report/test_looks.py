"""Ticks have one unit an axis, legends fit, and looks tell groups apart."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from lsp.report import looks


@pytest.mark.parametrize(
    ("largest", "texts"),
    [
        (900, ["0", "500"]), (20_000, ["0", "0.5k", "20k"]), (999_000, ["0", "0.5k", "999k"]),
        (1_500_000, ["0", "0.5M", "1M", "1.5M"]), (2_500_000, ["0", "0.25M", "2.5M"]),
    ],
)  # fmt: skip
def test_one_unit_an_axis(largest: float, texts: list[str]) -> None:
    sizes = {"M": 1e6, "k": 1e3}
    for text in texts:
        value = float(text.rstrip("kM")) * sizes.get(text[-1], 1)
        assert looks.in_unit(value, largest) == text


def test_ticks_of_a_panel() -> None:
    figure = Figure()
    panel = figure.subplots()
    panel.plot([0, 1_500_000], [0, 12_000])
    looks.dress(panel, "title", "x", "y")
    panel.set_xticks([0, 500_000, 1_000_000, 1_500_000])
    panel.set_yticks([0, 4_000, 12_000])
    figure.draw_without_rendering()
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["0", "0.5M", "1M", "1.5M"]
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["0", "4,000", "12,000"]


def test_long_names_are_wrapped() -> None:
    figure = Figure()
    looks.add_legend(figure, ["short", "a long name, " * 12], 1, "what lines are")
    (legend,) = figure.legends
    lines = [line for text in legend.get_texts() for line in text.get_text().split("\n")]
    assert len(lines) > 3
    assert max(map(len, lines)) <= looks.LEGEND_COLUMN
    assert legend.get_title().get_text() == "what lines are"


def test_of_one_name_there_is_no_legend() -> None:
    figure = Figure()
    looks.add_legend(figure, ["alone"], 1, "what lines are")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == []


def test_looks_repeat_late() -> None:
    assert len({(color, str(style)) for color, style in map(looks.look, range(21))}) == 21


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_save(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"a.{suffix}"
    looks.save(Figure(), path)
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")
