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
