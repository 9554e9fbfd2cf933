"""Which runs a command line means."""

from pathlib import Path

import pytest

from lsp.config import ConfigError
from lsp.grid import plan

GRID = ["--env=Pendulum-v1", "--name=g"]


def names(*arguments: str) -> list[str]:
    return [run.name for run in plan.plan([*GRID, *arguments], {}).runs]


def test_names_are_what_differs() -> None:
    assert names() == ["run"]
    assert names("--seed=1", "--critic.tau=0.1", "--seed=2") == ["seed=1", "seed=2"]
    assert names("--env=lsp/RllabAnt-v0") == ["env=Pendulum-v1", "env=lsp-RllabAnt-v0"]


def test_the_grids_own_flags() -> None:
    grid = plan.plan([*GRID, "--runs-dir=x", "--seed=1", "--address=a:1"], {"--address": "", "--cpus": "2"})
    assert (grid.folder, grid.own) == (Path("x/g"), {"--address": "a:1", "--cpus": "2"})
    assert grid.runs[0].flags == ["--env=Pendulum-v1", "--seed=1"]


def test_switches() -> None:
    """A `--no-` flag stays as it is; one of both kinds is varied."""
    (run,) = plan.plan([*GRID, "--no-normalize.observations", "--critic.value-network"], {}).runs
    assert run.flags == ["--env=Pendulum-v1", "--no-normalize.observations", "--critic.value-network"]
    both = names("--critic.layer-norm=true", "--critic.layer-norm=false")
    assert both == ["critic.layer-norm=true", "critic.layer-norm=false"]


def test_flags_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "flags").write_text("# the step size\n--critic.learning-rate=1e-3\n\n--critic.learning-rate=1e-4\n")
    assert names(f"@{tmp_path / 'flags'}", "--seed=3") == ["critic.learning-rate=1e-3", "critic.learning-rate=1e-4"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [([], "needs --name"), (["--name=x", "--runs-dir=a", "--runs-dir=b"], "--runs-dir is given 2 times")],
)
def test_refused(arguments: list[str], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        plan.plan(arguments, {})


@pytest.fixture
def arms(tmp_path: Path) -> str:
    path = tmp_path / "loss.toml"
    path.write_text(
        """
        flags = "--env=Pendulum-v1 --learning-starts=200"
        seeds = "3,5"
        steps = [100, 200]
        [arms]
        mse = ""
        huber = {flags = "--critic.loss=huber --critic.tau=0.1", steps = 100}
        both = {together = true, steps = 200}
        """
    )
    return str(path)


def test_of_each_number_of_steps_a_seed_of_every_arm_in_turn(arms: str) -> None:
    grid = plan.plan([arms], {})
    assert grid.folder == Path("runs/loss")
    assert [(run.name, run.steps) for run in grid.runs] == [
        ("mse/seed_3", 100),
        ("huber/seed_3", 100),
        ("both", 200),
        ("mse/seed_5", 100),
        ("huber/seed_5", 100),
        ("mse/seed_3", 200),
        ("mse/seed_5", 200),
    ]
    assert grid.arms == ["mse", "huber", "both"]
    shared = ["--env=Pendulum-v1", "--learning-starts=200"]
    assert grid.runs[4].flags == [*shared, "--critic.loss=huber", "--critic.tau=0.1", "--steps=100", "--seed=5"]
    assert grid.runs[2].flags == [*shared, "--seeds=3,5", "--steps=200"]


def test_flags_of_the_command_line_replace_those_of_a_programme(arms: str) -> None:
    grid = plan.plan([arms, "--seeds=1", "--steps=150", "--critic.loss=mse", "--name=trial"], {})
    assert grid.folder == Path("runs/trial")
    assert [(run.name, run.steps) for run in grid.runs] == [
        ("mse/seed_0", 150),
        ("huber/seed_0", 150),
        ("both", 150),
    ]
    assert grid.runs[1].flags[-3:] == ["--steps=150", "--critic.loss=mse", "--seed=0"]


def test_an_arm_may_vary_a_flag(arms: str) -> None:
    grid = plan.plan([arms, "--seeds=1", "--steps=150", "--critic.tau=0.1", "--critic.tau=0.2"], {})
    assert [run.name for run in grid.runs[:2]] == ["mse__critic.tau=0.1/seed_0", "mse__critic.tau=0.2/seed_0"]
    assert grid.arms[:2] == ["mse__critic.tau=0.1", "mse__critic.tau=0.2"]


def test_an_arm_that_cannot_be_is_named(arms: str) -> None:
    with pytest.raises(ConfigError, match=r"arm mse: unknown flag --critic\.tua: did you mean --critic\.tau"):
        plan.plan([arms, "--critic.tua=1"], {})
    with pytest.raises(ConfigError, match=r"one programme at a time: other\.toml"):
        plan.plan([arms, "other.toml"], {})


def test_a_switch_of_the_grid() -> None:
    own = {"--dry-run": ""}
    assert plan.plan([*GRID, "--dry-run"], own).own == {"--dry-run": "--dry-run"}
    assert plan.plan(GRID, own).own == own
