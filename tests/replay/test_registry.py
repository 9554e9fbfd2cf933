"""A kind of replay is one function in one module and one line in the registry; hindsight goes around any of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from lsp import run
from lsp.agents import presets
from lsp.config import ConfigError, ReplayConfig, from_dict, to_dict, validate
from lsp.config.registries import REPLAYS
from lsp.replay import registry
from lsp.replay.prioritized import State
from lsp.replay.ring import Ring
from lsp.storage import metrics
from lsp.types import EnvSpec, GoalTask
from tests.support import newest_first
from tests.support.builders import SPEC, tiny_config
from tests.support.runs import assert_same_state, command, compiled_once  # noqa: F401  # a fixture

GOALS = EnvSpec(5, 2, GoalTask(2, lambda *goals: goals, lambda *goals: goals))


@pytest.fixture
def newest(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a kind that `lsp` knows nothing of, registered."""
    monkeypatch.setitem(REPLAYS, newest_first.NAME, newest_first.__name__)
    monkeypatch.setitem(ReplayConfig.__annotations__, "kind", Literal[tuple(REPLAYS)])
    return newest_first.NAME


@pytest.mark.parametrize(("kind", "state"), [("uniform", Ring), ("prioritized", State)])
def test_kinds(kind: str, state: type) -> None:
    config = tiny_config(**{"replay.kind": kind, "replay.capacity": 32, "replay.batch_size": 4})
    memory = registry.make_replay(config, SPEC).init
    from lsp.training.device import example_transition

    assert isinstance(memory(example_transition(SPEC)), state)


def test_every_kind_has_what_the_protocol_asks_for() -> None:
    for kind in REPLAYS:
        assert callable(registry.find(kind).make)


@pytest.mark.parametrize(("kind", "initial", "ranks"), [
    ("uniform", "max", False), ("uniform", "td", False), ("prioritized", "max", False), ("prioritized", "td", True),
])  # fmt: skip
@pytest.mark.parametrize("goals", ["none", "hindsight"])
def test_who_ranks_new_transitions(kind: str, initial: str, ranks: bool, goals: str) -> None:
    """A property of the memory, which hindsight around it keeps."""
    config = tiny_config(**{"replay.kind": kind, "replay.initial": initial, "goals.kind": goals})
    assert registry.make_replay(config, GOALS).ranks_new == ranks


def test_hindsight_needs_goals() -> None:
    with pytest.raises(ConfigError, match=r"^--goals\.kind=hindsight: environment .* has no goals"):
        registry.make_replay(tiny_config(**{"goals.kind": "hindsight"}), SPEC)


def test_an_unknown_kind_ends_in_one_line(tmp_path: Path, capfd: Any) -> None:
    assert run.main(command(tmp_path / "run", replay__kind="prioritised")) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "--replay.kind=prioritised: must be uniform or prioritized; did you mean prioritized?" in line
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_of_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be uniform or prioritized"):
        validate(from_dict(to_dict(presets()) | {"replay.kind": "newest"}))


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_once")
def test_another_kind_trains_and_resumes(newest: str, tmp_path: Path) -> None:
    """One line in the registry is all that it takes."""
    shared = {"replay__kind": newest, "replay__capacity": 200}
    assert run.main(command(tmp_path / "straight", steps=140, **shared)) == 0
    assert run.main(command(tmp_path / "stopped", steps=100, **shared)) == 0
    assert run.main([f"--resume={tmp_path / 'stopped'}", "--steps=140"]) == 0
    last = metrics.read(tmp_path / "straight" / "metrics.jsonl")[-1]
    assert last["replay_size"] == 140 - 2 * 2, "of each executor, two steps wait for n-step returns"
    assert np.isfinite(last["critic_loss"])
    assert last["batch_age"] < 16, "of a batch no larger than that, all are among the newest"
    assert_same_state(tmp_path / "straight", tmp_path / "stopped")
