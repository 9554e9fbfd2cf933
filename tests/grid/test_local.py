"""A run of a grid is started, resumed or left alone, as its folder says; an interrupt ends the grid."""

from pathlib import Path
from typing import Any

import pytest

from lsp.config import Config, ConfigError, to_dict
from lsp.grid import local
from lsp.grid.plan import Grid, GridRun
from lsp.storage import checkpoint
from lsp.storage.run_folder import locked, write_document
from tests.support.policies import untrained  # its checkpoint is of step 100

RUN = GridRun("a", ["--env=Pendulum-v1"], 100)


def completed(folder: Path, run: GridRun = RUN, status: int = 0) -> tuple[local.GridRunEnd, list[str]]:
    """How the run ended, and the flags that `lsp.run` was started with; none where it was not."""
    calls: list[str] = []

    def runner(flags: list[str]) -> int:
        calls.extend(flags)
        return status

    return local.complete(folder, run, runner), calls


def test_a_new_run_is_started(tmp_path: Path) -> None:
    started = [*RUN.flags, f"--runs-dir={tmp_path}", "--name=a"]
    assert completed(tmp_path, status=3) == (local.GridRunEnd(3), started)
    (tmp_path / "a").mkdir()  # it ended before it wrote anything of use
    assert completed(tmp_path) == (local.GridRunEnd(0), started)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("left", [{"due": ["evaluation"]}, {"warm_up_left": 3}])
def test_a_run_that_was_stopped_after_its_last_step_is_resumed(left: dict[str, Any], tmp_path: Path) -> None:
    write_document(tmp_path / "a", {"config": to_dict(Config())})
    checkpoint.save(tmp_path / "a" / "checkpoints", 100, {}, {"due": [], "warm_up_left": 0} | left)
    assert completed(tmp_path) == (local.GridRunEnd(0), [f"--resume={tmp_path / 'a'}", "--steps=100"])


def test_a_grid_that_is_done_says_how_to_go_further(tmp_path: Path, capsys: Any) -> None:
    untrained(tmp_path / "a")
    runs = [RUN, RUN._replace(name="b")]
    for grid in (Grid(tmp_path, runs[:1], {}), Grid(tmp_path, runs, {})):
        assert local.run_all(grid, lambda flags: 0) == [0] * len(grid.runs)
        said = "nothing was left to do; to go further, the same command with more --steps"
        assert (said in capsys.readouterr().out) == (len(grid.runs) == 1)


def test_a_run_with_a_checkpoint_is_left_alone_or_resumed(tmp_path: Path) -> None:
    untrained(tmp_path / "a")
    assert completed(tmp_path) == (local.GridRunEnd(0, ran=False), [])
    longer = RUN._replace(steps=150)
    assert completed(tmp_path, longer) == (local.GridRunEnd(0), [f"--resume={tmp_path / 'a'}", "--steps=150"])


def test_a_seed_that_failed_leaves_the_others_done(tmp_path: Path) -> None:
    untrained(tmp_path / "a" / "seed_0")
    write_document(tmp_path / "a" / "seed_1", {"config": to_dict(Config()), "failed": "diverged"})
    assert completed(tmp_path) == (local.GridRunEnd(1, ran=False), [])


def test_a_folder_in_use_is_not_removed(tmp_path: Path) -> None:
    write_document(tmp_path / "a", {"config": to_dict(Config())})
    with locked(tmp_path / "a"), pytest.raises(ConfigError, match="is in use"):
        completed(tmp_path)
    assert (tmp_path / "a" / "config.json").exists()


def test_an_interrupt_ends_the_grid(tmp_path: Path) -> None:
    statuses = [1, 130]
    grid = Grid(tmp_path, [RUN._replace(name=name) for name in "abc"], {})
    assert local.run_all(grid, lambda flags: statuses.pop(0)) == [1, 130]


def test_how_far_a_run_is(tmp_path: Path) -> None:
    assert local.standing(tmp_path, RUN) == local.Standing([], False, 0, False)
    untrained(tmp_path / "a")
    assert local.standing(tmp_path, RUN) == local.Standing([tmp_path / "a"], False, 100, True)
    assert local.standing(tmp_path, RUN._replace(steps=150)).done is False
    untrained(tmp_path / "b" / "seed_1")
    write_document(tmp_path / "b" / "seed_2", {"config": to_dict(Config())})
    now = local.standing(tmp_path, RUN._replace(name="b"))
    assert (now.step, now.done) == (0, False)


def test_a_seed_of_an_arm_has_a_folder_in_it(tmp_path: Path) -> None:
    seed = RUN._replace(name="arm/seed_3")
    assert completed(tmp_path, seed)[1] == [*RUN.flags, f"--runs-dir={tmp_path / 'arm'}", "--name=seed_3"]
    untrained(tmp_path / "arm" / "seed_3")
    assert completed(tmp_path, seed) == (local.GridRunEnd(0, ran=False), [])
