"""The report of real and made-up runs: what it prints and writes, and how it refuses."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from lsp import run
from lsp.config import ConfigError
from lsp.report import command as report
from lsp.report import curves
from tests.support.folders import write_run
from tests.support.runs import command, compiled_once  # noqa: F401  # a fixture

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of two agents with two seeds each."""
    for seed in range(2):
        write_run(tmp_path / f"base{seed}", [1.0, 1000.0], seed=seed)
        write_run(tmp_path / f"other{seed}", [1.0, 2000.0], seed=seed, agent="prioritized")
    return tmp_path


def test_report(runs: Path, capsys: Any) -> None:
    assert report.main([str(runs)]) == 0
    out = capsys.readouterr().out
    about, table, *_, last = out.split("\n\n")
    assert " ".join(about.split()) == (
        "score of a seed: mean return of all evaluation episodes in the last 10 % of its steps, or of the last 50 "
        "since it began to learn, if these are more; sampled policy"
    )
    title, header, _, base, other = table.splitlines()
    assert title == "lsp/RllabAnt-v0: scored: 4 episodes a seed, steps 1k to 2k"
    assert header.split("  ")[0] == "run"
    assert base.split()[:8] == ["sac_lsp", "2", "2k", "1.5k", "500", "500", "to", "500"]
    assert other.endswith("2 v 2 seeds")
    assert "note: below 5 seeds there is no interval and no test: run 5 or more" in out
    assert "note: scored over fewer than 50 episodes: base0 (4), base1 (4), other0 (4), other1 (4)\n" in out
    assert last == f"curves: {runs / 'report.png'}\n"
    assert (runs / "report.png").stat().st_size > 10_000


def test_five_seeds_have_a_verdict(runs: Path, capsys: Any) -> None:
    for seed in range(2, 5):
        write_run(runs / f"base{seed}", [1.0, 1000.0 + seed], seed=seed)
        write_run(runs / f"other{seed}", [1.0, 2000.0 + seed], seed=seed, agent="prioritized")
    assert report.main([str(runs), "--no-plot"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "95 % t interval IQM 95 % bootstrap" in out
    assert "P 1.00, p 0.0079" in out  # 2 of 252
    assert "note: t interval: of the mean, for normal scores; bootstrap: of the IQM" in out
    assert "note: P: chance that a seed is better than one of the first row; p: two-sided" in out
    assert "no interval" not in out


def test_wide(runs: Path, capsys: Any) -> None:
    """Every column, and every seed."""
    assert report.main([str(runs), "--no-plot", "--wide"]) == 0
    out = capsys.readouterr().out
    assert "steps/s" in out
    assert "\n\nevery seed\n" in out
    assert out.split("every seed")[1].split("\n")[4].split()[-1] == "base1"


def test_rows_scored_over_different_steps(tmp_path: Path, capsys: Any) -> None:
    """As one was evaluated less often: told, with the flag that scores all over the same."""
    write_run(tmp_path / "often", [1.0] * 60)
    write_run(tmp_path / "seldom", [1.0] * 30, at=range(2000, 62_000, 2000), agent="prioritized")
    assert report.main([str(tmp_path), "--no-plot"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "note: lsp/RllabAnt-v0: runs of equal length are scored over different steps" in out
    assert "--score-from=12000 scores all over the same" in out
    assert report.main([str(tmp_path), "--no-plot", "--score-from=12_000"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("score of a seed: mean return of all evaluation episodes from step 12,000 on; sampled policy")
    assert "over different steps" not in out


def test_long_lists_of_runs_end(tmp_path: Path, capsys: Any) -> None:
    for seed in range(12):
        write_run(tmp_path / f"r{seed:02}", [1.0], seed=seed, steps=2000)
    assert report.main([str(tmp_path), "--no-plot"]) == 0
    assert ", r06 (2), r07 (2) and 4 more note:" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_real_run(tmp_path: Path, compiled_once: None, capsys: Any) -> None:  # noqa: F811
    """What training writes is what the report reads."""
    folder = tmp_path / "real"
    assert run.main(command(folder, steps=40, evaluation__every=10)) == 0
    capsys.readouterr()
    assert report.main([str(folder), "--protocol=mode", "--csv", str(tmp_path / "t.csv")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("; mode policy")
    assert lines[3] == "lsp/RllabAnt-v0: scored: 8 episodes a seed, steps 10 to 40"
    assert lines[6].split()[:3] == ["sac_lsp", "1", "40"]
    assert "speed m/s" in lines[4]
    assert (folder / "plots" / "curve.png").exists()
    assert (tmp_path / "t.csv").read_text().startswith("env,label,seeds,")


def test_markdown_without_plot(runs: Path, capsys: Any) -> None:
    assert report.main([str(runs), "--markdown", "--no-plot"]) == 0
    title, names = capsys.readouterr().out.split("\n\n")[1:3]
    assert title == "**lsp/RllabAnt-v0**"
    assert names.startswith("| run ")
    assert not (runs / "report.png").exists()


def test_until(runs: Path, capsys: Any) -> None:
    """Runs of unequal length are compared at equal steps."""
    write_run(runs / "long", [1.0, 1.0, 9.0], seed=2, steps=4000)
    assert report.main([str(runs), "--no-plot"]) == 0
    assert "note: * not finished: long; --until=STEP compares at equal steps" in capsys.readouterr().out
    assert report.main([str(runs), "--no-plot", "--until=1_000"]) == 0
    out = capsys.readouterr().out
    assert "not finished" not in out
    assert "9.00" not in out


def test_compare_with_the_study(runs: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: dict[str, Figure] = {}
    monkeypatch.setattr(curves, "save", lambda figure, path: saved.update({path.name: figure}))
    assert report.main([str(runs), "--compare=study", "--out=study.svg"]) == 0
    out = capsys.readouterr().out
    assert "Not like for like: protocol and budget differ." in out
    assert "baseline          1            10M  3,157  2,665 (1,403)" in out
    assert "distributed       2       10M + 4M  5,173  4,168 (1,749)" in out
    assert "study: baseline, 1 layer: 3,157" in [text.get_text() for text in saved["study.svg"].axes[0].texts]


def test_compare_with_published(tmp_path: Path, capsys: Any) -> None:
    write_run(tmp_path / "a", [1.0], env="Ant-v4")
    assert report.main([str(tmp_path), "--compare=published", "--no-plot", "--markdown"]) == 0
    out = capsys.readouterr().out
    assert "TD7 evaluates a saved best policy" in " ".join(out.split())
    assert re.search(r"\| CrossQ +\| +10 \| 5,384 ± 1,908 \| +6,980 ± 236 \| +- \|\n", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: RUN; see --help"),
        (["RUNS", "--protocl=mode"], "unrecognized arguments: --protocl=mode; see --help"),
        (["RUNS", "--protocol=best"], "invalid choice: 'best'"),
        (["RUNS", "--until=soon"], "invalid int value: 'soon'"),
        (["RUNS", "--score-from=2_001"], "--score-from=2001 is after the last evaluation of"),
        (["RUNS", "--out=curve.jpeg2"], "--out=curve.jpeg2: must end in .png, .svg, .pdf"),
        (["RUNS/none"], "none is not a run: there is no such folder"),
        (["RUNS/base0", "--protocol=mode"], "base0 was not evaluated with --protocol=mode, only with: sampled"),
        (["RUNS", "--compare=published"], "has numbers on Ant-v4 only; these runs are on lsp/RllabAnt-v0"),
    ],
)
def test_refusals(runs: Path, capsys: Any, arguments: list[str], message: str) -> None:
    """One line, status 2."""
    assert report.main([argument.replace("RUNS", str(runs)) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lsp: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_file_that_cannot_be_written(runs: Path, capsys: Any) -> None:
    assert report.main([str(runs), f"--csv={runs}/base0/config.json/t.csv"]) == 1
    error = capsys.readouterr().err
    assert "config.json" in error
    assert error.count("\n") == 1


def test_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSP_DEBUG", "1")
    with pytest.raises(ConfigError):
        report.main([])


def test_default_plot_is_named_from_here(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(runs.parent)
    assert report.main([runs.name]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"curves: {runs.name}/report.png"


def test_default_plot_of_scattered_runs(tmp_path: Path) -> None:
    """The deepest folder that holds them all."""
    write_run(tmp_path / "x" / "one", [1.0], seed=0)
    write_run(tmp_path / "y" / "deep" / "two", [1.0], seed=1)
    assert report.main([str(tmp_path / "x"), str(tmp_path / "y" / "deep" / "two")]) == 0
    assert (tmp_path / "report.png").exists()


HELP = """
import sys
from lsp import report
try:
    report.main(["--help"])
except SystemExit as end:
    assert not end.code
assert not {"jax", "matplotlib"} & set(sys.modules)
"""


def test_help_is_instant() -> None:
    """Under a second of the processor's time: without JAX, without Matplotlib."""
    began = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", HELP], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--compare {study,published}" in result.stdout
    assert time.perf_counter() - began < 10  # on a busy machine


def test_reader_that_leaves_early(runs: Path) -> None:
    """As under `| head -1`: no traceback."""
    script = f"{sys.executable} -u -m lsp.report {runs} --no-plot | true"
    result = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stderr == ""


def test_what_is_left_out_or_failed_is_told(runs: Path, capsys: Any) -> None:
    (runs / "base1" / "eval.jsonl").write_text("")
    document = json.loads((runs / "other0" / "config.json").read_text())
    (runs / "other0" / "config.json").write_text(json.dumps(document | {"failed": "loss is not finite"}))
    assert report.main([str(runs), "--no-plot"]) == 0
    out = capsys.readouterr().out
    assert f"note: left out: {runs / 'base1'} has nothing to report yet: eval.jsonl holds no evaluation\n" in out
    assert "note: failed: other0: loss is not finite\n" in out


def test_growth_is_explained(tmp_path: Path, capsys: Any) -> None:
    write_run(tmp_path / "grown", [3.0, 4.0, 1.0, 2.0], at=[1000, 2000, 2000, 3000], layers=2)
    assert report.main([str(tmp_path), "--no-plot"]) == 0
    out = capsys.readouterr().out
    assert "  dip  after growth  " in out
    assert "note: dip: return before growth minus the lowest in the first 100,000 steps after it" in out
    assert "scored: 2 episodes a seed, steps 3k to 3k" in out
