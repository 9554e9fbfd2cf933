"""Run folders become arrays, whatever state they are in; the final score is of the policy trained last."""

from pathlib import Path

import numpy as np
import pytest

from lsp.config import ConfigError
from lsp.report.runs import read, read_all
from tests.support.folders import write_run


def test_read(tmp_path: Path) -> None:
    run = read(write_run(tmp_path / "a", [100.0, 200.0, 400.0], seed=7), "sampled")
    np.testing.assert_array_equal(run.steps, [1000, 2000, 3000])
    np.testing.assert_array_equal(run.updates, [500, 1500, 2500])
    np.testing.assert_array_equal(run.returns, [100, 200, 400])
    np.testing.assert_array_equal(run.terminated, [0.5, 0.5, 0.5])
    np.testing.assert_allclose(run.speeds, [0.1, 0.2, 0.4])
    assert (run.episodes, run.seconds, run.steps_per_second, run.config["seed"]) == (2, 6.0, 500.0, 7)


def test_protocol_and_until(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", [1.0, 2.0, 3.0], protocols=("sampled", "mode"), env="Hopper-v5")
    run = read(folder, "mode", until=2500)
    np.testing.assert_array_equal(run.returns, [10, 20])
    assert run.seconds == 4.0
    assert np.isnan(run.speeds).all()
    with pytest.raises(ConfigError, match=r"--protocol=fixed_latent, only with: sampled, mode$"):
        read(folder, "fixed_latent")
    with pytest.raises(ConfigError, match=r"--until=900 is before the first evaluation of .*a, at step 1000$"):
        read(folder, "sampled", until=900)


@pytest.mark.parametrize(("count", "window"), [(1, 1), (2, 1), (5, 3), (12, 6), (20, 10), (21, 10), (400, 10)])
def test_final_window(tmp_path: Path, count: int, window: int) -> None:
    """The last ten evaluations, and none of the first half of the run."""
    run = read(write_run(tmp_path / "a", [float(i) for i in range(count)]), "sampled")
    assert run.window == window
    assert run.final(run.returns) == pytest.approx(np.mean(range(count - window, count)))


def test_run_in_progress(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", [1.0, 2.0])
    text = (folder / "eval.jsonl").read_text()
    (folder / "eval.jsonl").write_text(text[:-20])  # its last line is being written
    (folder / "metrics.jsonl").unlink()
    run = read(folder, "sampled")
    assert len(run.steps) == 1
    assert np.isnan([run.seconds, run.steps_per_second]).all()


def test_folder_of_runs_and_repetition(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, [1.0], seed=seed) for seed, name in enumerate("abc")]
    (tmp_path / "published").mkdir()
    found = read_all([runs[2], tmp_path, tmp_path / "a" / ".." / "b"], "sampled")
    assert [run.config["seed"] for run in found] == [2, 0, 1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", None, "is not a run: there is no config.json in it"),
        ("config.json", "{", "config.json is not JSON"),
        ("config.json", "[]", "cannot be read"),
        ("config.json", "{}", "cannot be read: KeyError 'config'"),
        ("eval.jsonl", None, "has nothing to report yet"),
        ("eval.jsonl", "", "has nothing to report yet"),
        ("eval.jsonl", "spam\n", "eval.jsonl:1: not JSON"),
        ("eval.jsonl", '{"step":1,"protocol":"sampled"}\n', "cannot be read: KeyError 'updates'"),
        ("metrics.jsonl", "3\n", "metrics.jsonl:1: not a JSON object"),
    ],
)
def test_broken_run(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    path = write_run(tmp_path / "a", [1.0]) / name
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_all([tmp_path / "a"], "sampled")
    assert str(tmp_path / "a") in str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such is not a run: there is no such folder"):
        read_all([tmp_path / "no-such"], "sampled")


def test_a_folder_of_single_runs_and_of_many_seeds(tmp_path: Path) -> None:
    """As a grid leaves them; what lies deeper is not looked for."""
    for name, seed in (("a=1/seed_0", 0), ("a=1/seed_1", 1), ("b", 2), ("c/d/seed_0", 3), ("e/f", 4)):
        write_run(tmp_path / name, [1.0], seed=seed)
    found = [str(run.folder.relative_to(tmp_path)) for run in read_all([tmp_path], "sampled")]
    assert found == ["a=1/seed_0", "a=1/seed_1", "b"]


@pytest.mark.parametrize(
    ("at", "counted"),
    [
        ([10, 20, 20, 30, 40], [3, 4]),  # neither the layer below, nor what was not trained
        ([10, 20, 30, 30, 60, 70], [4, 5]),
        ([10, 20, 30, 30], [1, 2]),  # growth, and no training since: the layer below
        ([10, 10, 20, 20, 20, 25], [5]),
        ([0, 10, 20], [2]),
    ],
)
def test_final_window_of_layers(tmp_path: Path, at: list[int], counted: list[int]) -> None:
    run = read(write_run(tmp_path / "a", [2.0**i for i in range(len(at))], at=at), "sampled")
    assert run.window == len(counted)
    assert run.final(run.returns) == np.mean([2.0**i for i in counted])
    assert run.growths.tolist() == sorted({step for step in at if at.count(step) > 1})
