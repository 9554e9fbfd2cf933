"""What is saved of a run that an error ends, and what the line says; of a run that only records what it is asked."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lsp.envs import EnvironmentFault
from lsp.storage.checkpoint import CheckpointError
from lsp.training.divergence import Diverged
from lsp.training.endings import TRACEBACK, Ended, cause_of, rescue


class Recording:
    """Of a run what `rescue` uses; `broken` is what makes it unsound, `unwritable` what saving raises."""

    def __init__(self, folder: Path, broken: Exception | None = None, unwritable: Exception | None = None) -> None:
        self.dir, self.seed = folder, SimpleNamespace(step=1234)
        self.asked: list[str] = []
        self._broken, self._unwritable = broken, unwritable

    def require_finite_agent(self) -> None:
        if self._broken:
            raise self._broken

    require_sound = require_finite_agent

    def give_up_line(self) -> None:
        self.asked.append("give up line")

    def save(self, outputs: Any, lost: bool) -> None:
        self.asked.append(f"save lost={lost}")
        if self._unwritable:
            raise self._unwritable
        (self.dir / "checkpoints" / "1234").mkdir(parents=True)
        (self.dir / "checkpoints" / "1234" / "manifest.json").write_text("{}")


def rescued(run: Any, error: BaseException, **options: Any) -> Exception:
    return rescue(run, error, None, lost=True, **options)  # type: ignore[arg-type]  # outputs are only handed on


def test_a_fault_of_the_environment_leaves_a_checkpoint(tmp_path: Path) -> None:
    run = Recording(tmp_path)
    ended = rescued(run, EnvironmentFault("environment E raised RuntimeError: lost"))
    assert run.asked == ["give up line", "save lost=True"]
    assert isinstance(ended, Ended)
    assert str(ended).startswith("environment E raised RuntimeError: lost; to continue from step 1,234: python -m ")


def test_what_nobody_foresaw_has_its_traceback_in_a_file(tmp_path: Path) -> None:
    ended = rescued(Recording(tmp_path), KeyError("a\nb"))
    assert "\n" not in str(ended)
    assert "training failed at step 1,234: KeyError" in str(ended)
    assert "KeyError" in (tmp_path / TRACEBACK).read_text()


def test_a_broken_policy_is_the_cause_and_is_not_saved(tmp_path: Path) -> None:
    run = Recording(tmp_path, broken=Diverged("training diverged"))
    assert str(rescued(run, EnvironmentFault("an action that is not finite"))) == "training diverged"
    assert run.asked == []
    full = OSError(28, "No space left on device")
    assert cause_of(run, full) is full  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "options", "unwritable", "says"),
    [
        (EnvironmentFault("lost"), {}, OSError(28, "No space left"), "no checkpoint of this step: [Errno 28] No space"),
        (CheckpointError("cannot write"), {}, None, "cannot write; there is no checkpoint to continue from"),
        (ValueError("x"), {"usable": False}, None, "no checkpoint of this step: a layer was half grown"),
    ],
    ids=["full disk", "it was the checkpoint", "half grown"],
)
def test_where_nothing_can_be_saved_it_says_so(
    error: Exception, options: dict[str, Any], unwritable: Exception | None, says: str, tmp_path: Path
) -> None:
    ended = rescued(Recording(tmp_path, unwritable=unwritable), error, **options)
    assert says in str(ended)
    assert str(ended).endswith("there is no checkpoint to continue from")
