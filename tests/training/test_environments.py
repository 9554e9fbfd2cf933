"""Environments are made as often as they are needed."""

from pathlib import Path
from typing import Any

import pytest

from lsp import run
from tests.support.guests import Single
from tests.support.toy_runs import toy_agents, toy_command  # noqa: F401  # a fixture

SHORT = {"env-kwargs": '{"max_episode_steps": 40}', "steps": 60, "learning_starts": 50, "executors.count": 1}

pytestmark = pytest.mark.usefixtures("toy_agents")


@pytest.fixture(autouse=True)
def _counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("seats", 1), ("alive", 0), ("made", 0)):
        monkeypatch.setattr(Single, name, value)


@pytest.mark.parametrize(
    ("changes", "seats", "message"),
    [
        ({"evaluation__every": 50}, 1, "0 of --evaluation.episodes=2 environments could be made: "),
        ({"evaluation__every": 50}, 2, "1 of --evaluation.episodes=2 environments could be made: "),
        ({"executors.count": 3}, 2, "2 of --executors.count=3 environments could be made: "),
    ],
)
def test_too_many_instances(changes: dict[str, Any], seats: int, message: str, tmp_path: Path, capfd: Any) -> None:
    Single.seats = seats
    assert run.main(toy_command(tmp_path / "run", **SHORT | {"env": "tests.support.guests:Single"} | changes)) == 2
    (said,) = capfd.readouterr().err.splitlines()
    assert message in said
    assert "RuntimeError: the simulator is in use; " in said
    assert ("--evaluation.every=0" in said) == ("evaluation__every" in changes)
    assert Single.alive == 0
    assert list(tmp_path.iterdir()) == []


def test_evaluation_makes_as_many_as_it_has_episodes(tmp_path: Path) -> None:
    Single.seats = 3
    assert (
        run.main(
            toy_command(tmp_path / "run", **SHORT | {"env": "tests.support.guests:Single", "evaluation__every": 60})
        )
        == 0
    )
    assert (Single.alive, Single.made) == (0, 3)


@pytest.mark.parametrize("mode", ["sync", "sync_pipelined"])
def test_one_that_is_trained_and_resumed(mode: str, tmp_path: Path) -> None:
    """The environment that is made to read the sizes is the one that is used."""
    folder = tmp_path / "single"
    assert run.main(toy_command(folder, **SHORT | {"env": "tests.support.guests:Single", "executors.mode": mode})) == 0
    assert (Single.alive, Single.made) == (0, 1)
    assert run.main([f"--resume={folder}", "--steps=70"]) == 0
    assert (Single.alive, Single.made) == (0, 2)
