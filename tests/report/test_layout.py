"""Tables are aligned, fit on a page, say once what all have in common, and in full where asked to."""

from pathlib import Path
from typing import Any

import pytest

from lsp.report import layout, table
from lsp.report.groups import group_by_seed
from lsp.report.layout import PAGE, Style
from lsp.report.runs import read_all
from tests.support.folders import write_run


def written(folder: Path, **style: bool) -> str:
    groups = group_by_seed(read_all([folder], "sampled"))
    return "\n\n".join(layout.blocks(groups, table.rows(groups), Style(**style)))


def header(text: str, number: int = 0) -> list[str]:
    """The column names of one of the tables."""
    lines = text.splitlines()
    rules = [i for i, line in enumerate(lines) if set(line) == {"-", " "}]
    return [name.strip() for name in lines[rules[number] - 1].split("  ") if name.strip()]


def write_arms(folder: Path, seeds: int, **fields: Any) -> None:
    """A flat group and a grown one, of one past until 1,000."""
    for seed in range(seeds):
        write_run(folder / f"flat_s{seed}", [1.0 + seed, 200.0], seed=seed, **fields)
        grown = [1.0 + seed, 1.0 + seed, 300.0 + seed]
        write_run(folder / f"grown_s{seed}", grown, at=[1000, 1000, 2000], seed=seed, layers=2, **fields)


def test_text_is_aligned() -> None:
    text = layout.to_text([("env", "run", "score"), ("a", "long name", "1"), ("bcde", "x", "1,000")], text_columns=2)
    assert text.splitlines() == [
        "env   run        score",
        "----  ---------  -----",
        "a     long name      1",
        "bcde  x          1,000",
    ]


def test_markdown() -> None:
    text = layout.to_text([("env", "score"), ("a", "10,000")], markdown=True)
    assert text.splitlines() == ["| env |  score |", "| --- | -----: |", "| a   | 10,000 |"]


def test_a_table_for_each_environment(tmp_path: Path) -> None:
    for env in ("Hopper-v5", "Ant-v5"):
        for agent in ("sac_lsp", "prioritized"):
            write_run(tmp_path / f"{env}-{agent}", [1.0], env=env, agent=agent, seed=3)
    ant, hopper = written(tmp_path).split("\n\n")[:2]
    assert ant.splitlines()[0] == "Ant-v5: scored: 2 episodes a seed, steps 1k to 1k"
    assert hopper.splitlines()[0] == "Hopper-v5: scored: 2 episodes a seed, steps 1k to 1k"
    assert header(ant)[:4] == ["run", "seeds", "env steps", "updates"]
    assert "speed m/s" in header(ant)
    assert "speed m/s" not in header(hopper)
    assert [line.split()[0] for line in ant.splitlines()[3:]] == ["prioritized", "sac_lsp"]


def test_what_differs_is_a_column_again(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0])
    write_run(tmp_path / "b", [1.0] * 2, seed=1, utd=2.0)
    text = written(tmp_path)
    assert text.splitlines()[0] == "lsp/RllabAnt-v0: sac_lsp"
    assert header(text)[4:6] == ["scored steps", "episodes"]
    assert "1k to 2k" in text


@pytest.mark.parametrize(
    ("parts", "common", "labels"),
    [
        ([("sac_lsp", "utd=1"), ("sac_lsp", "utd=2")], ["sac_lsp"], ["utd=1", "utd=2"]),
        ([("sac_lsp", "modern")], [], ["sac_lsp, modern"]),
        ([("sac_lsp",), ("sac_lsp", "b")], [], ["sac_lsp", "sac_lsp, b"]),
        ([("a", "critic.tau=1"), ("b", "critic.tau=2")], [], ["a, tau=1", "b, tau=2"]),
        (
            [("a", "critic.sizes=1", "flow.sizes=1"), ("a", "critic.sizes=2", "flow.sizes=1")],
            ["a", "flow.sizes=1"],
            ["sizes=1", "sizes=2"],
        ),
        (
            [("critic.size=1", "flow.size=1"), ("critic.size=2", "flow.size=2")],
            [],
            ["critic.size=1, flow.size=1", "critic.size=2, flow.size=2"],
        ),
    ],
)  # fmt: skip
def test_names_are_shortened(parts: list[tuple[str, ...]], common: list[str], labels: list[str]) -> None:
    assert layout.shorten(parts) == (common, labels)
    assert layout.shorten(parts, whole=True) == ([], [", ".join(each) for each in parts])


def test_a_page_is_wide_enough(tmp_path: Path) -> None:
    """Whatever there is to say; what is left out is told."""
    long = "a_folder_with_a_name_that_somebody_thought_about_for_long"
    for seed in range(6):
        for name, gamma in (("one", 0.5), (long, 0.9)):
            fields = {"gamma": gamma, "n_step": int(10 * gamma), "block": int(10 * gamma), "utd": gamma}
            at = [1000, 123_456 + seed]
            write_run(tmp_path / f"{name}_s{seed}", [1.0, 12_345.6 * seed], at=at, seed=seed, steps=200_000, **fields)
    write_run(tmp_path / "single", [5_000.0, 7_000.0], steps=9_999_999, seed=77)
    write_arms(tmp_path / "more", 5, agent="distributed_prioritized")
    write_arms(tmp_path / "few", 2, agent="categorical")
    text = "\n".join(map(written, (tmp_path, tmp_path / "few", tmp_path / "more")))
    assert [line for line in text.splitlines() if len(line) > PAGE] == []
    assert "note: --wide shows also: " in text
    assert max(map(len, written(tmp_path, wide=True).splitlines())) > PAGE


def test_labels_are_wrapped_between_words(tmp_path: Path) -> None:
    fields = ({"critic__hidden_sizes": [512, 512, 512], "flow__embedding_sizes": [512, 512, 512]}, {})
    for number, each in enumerate(fields):
        write_run(tmp_path / f"{number}", [1.0], n_step=number + 1, **each)
    lines = written(tmp_path).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("hidden_sizes=512,512,512"))
    assert lines[start].split("  ")[0].endswith(",")
    assert lines[start + 1].startswith("  ")


def test_wide_and_markdown_leave_nothing_out(tmp_path: Path) -> None:
    write_arms(tmp_path, 2)
    narrow, wide, markdown = written(tmp_path), written(tmp_path, wide=True), written(tmp_path, markdown=True)
    assert set(header(narrow)) < set(header(wide))
    titles = next(line for line in markdown.splitlines() if line.startswith("| run"))
    assert [name.strip() for name in titles.strip("|").split("|")] == header(wide)
    assert markdown.startswith("**lsp/RllabAnt-v0**\n\n| run")
    assert "sac_lsp, layers=2" in wide
    assert "every seed" in wide
    assert "every seed" not in markdown


def test_every_seed(tmp_path: Path) -> None:
    write_arms(tmp_path, 2)
    write_run(tmp_path / "grown_s9", [4.0], seed=9, layers=2, steps=2000)
    lines = written(tmp_path, wide=True).split("every seed\n")[1].splitlines()
    assert [line.split()[-1] for line in lines[2:]] == ["flat_s0", "flat_s1", "grown_s0", "grown_s1", "grown_s9"]
    assert lines[3].split()[2:8] == ["1", "2k", "2k", "to", "2k", "2"]
    assert lines[6].split()[2] == "9*"
    assert [line.split()[8] for line in lines[2:6]] == ["200", "200", "300", "301"]


def test_paired_differences(tmp_path: Path) -> None:
    """Below five pairs each and their range; from five on the interval, and each where nothing is left out."""
    write_arms(tmp_path / "two", 2)
    title, names, _, line = written(tmp_path / "two").split("\n\n")[1].splitlines()
    assert title == layout.PAIRS
    assert header(f"{names}\n- -") == ["difference", "pairs", "one run until", "mean", "range", "by seed"]
    assert " ".join(line.split()) == "layers=2 minus layers=1 2 1k +100 +100 to +101 0: +100, 1: +101"
    write_arms(tmp_path / "five", 5)
    _, names, _, line = written(tmp_path / "five").split("\n\n")[1].splitlines()
    assert header(f"{names}\n- -") == ["difference", "pairs", "one run until", "mean", "95 % t interval"]
    assert line.split()[3:] == ["5", "1k", "+102", "[100,", "104]"]
    assert "0: +100, 1: +101, 2: +102, 3: +103, 4: +104" in written(tmp_path / "five", wide=True)


@pytest.mark.parametrize(("value", "text"), [(0.0, "+0.00"), (-9.994, "-9.99"), (12.3, "+12"), (-1234.5, "-1,234")])
def test_signed(value: float, text: str) -> None:
    assert layout.signed(value) == text
