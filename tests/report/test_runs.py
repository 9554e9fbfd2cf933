"""Run folders become arrays, whatever state they are in; the final score is of the policy trained last."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp.config import ConfigError
from lsp.report.runs import read, read_all
from lsp.storage import metrics
from lsp.storage.metrics import JsonLines
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


@pytest.mark.parametrize(("count", "window"), [(1, 1), (20, 20), (25, 25), (26, 25), (250, 25), (400, 40)])
def test_score_is_of_the_last_tenth_but_of_fifty_episodes(tmp_path: Path, count: int, window: int) -> None:
    """Evaluations have two episodes here: 25 of them are enough."""
    run = read(write_run(tmp_path / "a", [float(i) for i in range(count)]), "sampled")
    assert run.window == (1000 * (count - window + 1), 1000 * count, 2 * window)
    assert run.score == pytest.approx(np.mean(range(count - window, count)))
    assert run.final(run.returns) == run.score


def test_every_episode_counts_the_same(tmp_path: Path) -> None:
    """Where one evaluation has more of them than another."""
    folder = write_run(tmp_path / "a", [0.0, 0.0])
    first, second = metrics.read(folder / "eval.jsonl")
    lines = [first, second | {"returns": [3.0] * 4, "terminated": [True] * 4}]
    (folder / "eval.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = read(folder, "sampled")
    assert run.score == np.mean([-1, 1, 3, 3, 3, 3])
    assert run.final(run.terminated) == np.mean([1, 0, 1, 1, 1, 1])
    assert run.episodes == 4


def test_a_diverged_evaluation_is_a_diverged_score(tmp_path: Path) -> None:
    run = read(write_run(tmp_path / "a", [1.0, float("nan"), 2.0]), "sampled")
    assert np.isnan(run.score)


def test_a_run_cut_and_resumed_scores_the_same(tmp_path: Path) -> None:
    """Resumed, it appends to what the first session wrote; a line torn by a kill is cut off by whoever appends."""
    whole = write_run(tmp_path / "whole", [float(i) for i in range(100)])
    cut = write_run(tmp_path / "cut", [float(i) for i in range(60)], steps=100_000)
    assert read(cut, "sampled").unfinished
    for name in ("eval.jsonl", "metrics.jsonl"):
        rest = (whole / name).read_bytes()[(cut / name).stat().st_size :]
        with (cut / name).open("ab") as stream:
            stream.write(b'{"step":61000,"prot')
        JsonLines(cut / name).close()
        with (cut / name).open("ab") as stream:
            stream.write(rest)
    one, other = read(whole, "sampled"), read(cut, "sampled")
    assert one.window == other.window == (76_000, 100_000, 50)
    assert one.score == other.score == np.mean(range(75, 100))
    assert not other.unfinished


def test_until_scores_as_a_run_that_ends_there(tmp_path: Path) -> None:
    long = write_run(tmp_path / "long", [float(i) for i in range(400)])
    short = write_run(tmp_path / "short", [float(i) for i in range(300)])
    assert read(long, "sampled", until=300_999).window == read(short, "sampled").window == (271_000, 300_000, 60)


def test_unfinished(tmp_path: Path) -> None:
    """By the last that was written of a run, evaluated or not; with `until`, where it has not come so far."""
    folder = write_run(tmp_path / "a", [1.0] * 3, steps=4500)
    assert read(folder, "sampled").unfinished
    assert [read(folder, "sampled", until=until).unfinished for until in (1500, 3000, 3500)] == [False, False, True]
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"step":4500,"seconds":9.0}\n')
    assert not read(folder, "sampled").unfinished


def test_motionless(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", [1.0, 2.0])
    assert np.isnan(read(folder, "sampled").motionless).all()
    lines = metrics.read(folder / "eval.jsonl")
    text = [json.dumps(line | {"motionless": [0.25, share]}) for line, share in zip(lines, (0.75, 0.5), strict=True)]
    (folder / "eval.jsonl").write_text("\n".join(text) + "\n")
    run = read(folder, "sampled")
    np.testing.assert_array_equal(run.motionless, [0.5, 0.375])
    assert run.final(run.motionless) == 0.4375


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
        ([10, 20, 30, 30], [0, 1, 2]),  # growth, and no training since: the layer below
        ([10, 10, 20, 20, 20, 25], [5]),
        ([0, 10, 20], [0, 1, 2]),
    ],
)
def test_final_window_of_layers(tmp_path: Path, at: list[int], counted: list[int]) -> None:
    run = read(write_run(tmp_path / "a", [2.0**i for i in range(len(at))], at=at), "sampled")
    assert (run.window.first, run.window.episodes) == (at[counted[0]], 2 * len(counted))
    assert run.score == np.mean([2.0**i for i in counted])
    assert run.growths.tolist() == sorted({step for step in at if at.count(step) > 1})


def empty_evaluations(folder: Path) -> None:
    (folder / "eval.jsonl").write_text("")


def torn_evaluations(folder: Path) -> None:
    (folder / "eval.jsonl").write_text('{"step":1000,"protocol":"sam')


def no_evaluations(folder: Path) -> None:
    (folder / "eval.jsonl").unlink()


def unreadable_configuration(folder: Path) -> None:
    (folder / "config.json").write_text('{"config": {"env"')


def no_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()


def a_file_of_zeros(folder: Path) -> None:
    (folder / "metrics.jsonl").write_bytes(bytes(64) + b"\n")


BREAKS = [
    (empty_evaluations, "has nothing to report yet"), (torn_evaluations, "has nothing to report yet"),
    (no_evaluations, "has nothing to report yet"), (unreadable_configuration, "config.json is not JSON"),
    (no_configuration, "is not a run: there is no config.json in it"), (a_file_of_zeros, "metrics.jsonl:1: not JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("break_it", "reason"), BREAKS)
def test_one_of_several_is_left_out(break_it: Callable[[Path], None], reason: str, tmp_path: Path) -> None:
    """Wherever it stands, and told; alone it is an error."""
    runs = [write_run(tmp_path / name, [1.0], seed=seed) for seed, name in enumerate("abc")]
    break_it(runs[0])
    for given in (runs, runs[::-1], [*runs[1:], *runs]):
        told: list[str] = []
        found = read_all(given, "sampled", leave_out=told.append)
        assert {run.config["seed"] for run in found} == {1, 2}
        (problem,) = told
        assert str(runs[0]) in problem
        assert reason in problem
    with pytest.raises(ConfigError, match=reason):
        read_all(runs[:1], "sampled")
    assert len(read_all(runs, "sampled")) == 2


def test_a_seed_with_nothing_yet_is_left_out(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / "many" / f"seed_{seed}", [1.0], seed=seed)
    no_evaluations(tmp_path / "many" / "seed_1")
    told: list[str] = []
    runs = read_all([tmp_path / "many"], "sampled", leave_out=told.append)
    assert ([run.config["seed"] for run in runs], len(told)) == ([0, 2], 1)


def test_as_a_shell_lists_a_folder(tmp_path: Path) -> None:
    """`runs/*` also names the picture that the last report left there; a name that does not exist is a slip."""
    write_run(tmp_path / "a", [1.0])
    (tmp_path / "report.png").touch()
    (tmp_path / "empty").mkdir()
    told: list[str] = []
    assert len(read_all(sorted(tmp_path.iterdir()), "sampled", leave_out=told.append)) == 1
    assert [Path(problem.split(" is not a run")[0]).name for problem in told] == ["empty", "report.png"]
    with pytest.raises(ConfigError, match="no-such is not a run: there is no such folder"):
        read_all([tmp_path / "a", tmp_path / "no-such"], "sampled")


def test_nothing_at_all(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        no_evaluations(write_run(tmp_path / name, [1.0], seed=seed))
    with pytest.raises(ConfigError, match=r"a has nothing to report yet: .* \(and 2 more like it\)$"):
        read_all([tmp_path], "sampled")


def test_a_protocol_that_some_lack(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1.0], seed=0)
    write_run(tmp_path / "b", [1.0], seed=1, protocols=("sampled", "mode"))
    told: list[str] = []
    assert [run.folder.name for run in read_all([tmp_path], "mode", leave_out=told.append)] == ["b"]
    assert "was not evaluated with --protocol=mode" in told[0]


def test_wall_clock_counts_to_the_end(tmp_path: Path) -> None:
    """What came after the last line of metrics, such as the last evaluation, is noted when a run ends."""
    folder = write_run(tmp_path / "a", [1.0, 2.0])
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(document | {"seconds": 10.0}))
    run = read(folder, "sampled")
    assert (run.seconds, run.steps_per_second) == (10.0, 200.0)
    assert read(folder, "sampled", until=1000).seconds == 2.0
    (folder / "config.json").write_text(json.dumps(document | {"seconds": 1.0}))  # of the session before this one
    assert read(folder, "sampled").seconds == 4.0
    (folder / "metrics.jsonl").write_text("")
    (folder / "config.json").write_text(json.dumps(document | {"seconds": 10.0}))
    assert read(folder, "sampled").steps_per_second == 200.0


def test_what_only_some_episodes_say(tmp_path: Path) -> None:
    """Averaged over those that say it; where nobody does, it is not known."""
    folder = write_run(tmp_path / "a", [1.0] * 4)
    lines = metrics.read(folder / "eval.jsonl")
    said: list[Any] = [[None, None], [True, None, False, True], None, [None, True]]
    with (folder / "eval.jsonl").open("w") as stream:
        for line, success in zip(lines, said, strict=True):
            speed = {"info/x_velocity": [None, 0.5, float("nan")]}
            stream.write(json.dumps(line | {"success": success} | speed) + "\n")
    run = read(folder, "sampled")
    np.testing.assert_allclose(run.successes, [np.nan, 2 / 3, np.nan, 1.0])
    np.testing.assert_allclose(run.speeds, 0.5)
    assert run.final(run.successes) == pytest.approx(5 / 6)
    assert run.final(run.speeds) == 0.5
    assert np.isnan(run.final(np.full(4, np.nan)))
