"""Environments of others, with habits of their own."""

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tests.support.runs import Puppet


class Single(Puppet):
    """Of which there may be `seats` at a time. Counts how many were made."""

    seats: ClassVar[int] = 1
    alive: ClassVar[int] = 0
    made: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        if Single.alive >= Single.seats:
            raise RuntimeError("the simulator is in use")
        Single.alive += 1
        Single.made += 1

    def close(self) -> None:
        Single.alive -= 1


class Wanderer(Puppet):
    """Changes the working folder wherever it can."""

    def __init__(self) -> None:
        super().__init__()
        self._leave("constructor")

    def step(self, action: np.ndarray) -> Any:
        self._leave(f"step_{self.steps}")
        return super().step(action)

    def _leave(self, name: str) -> None:
        elsewhere = Path(os.environ["ELSEWHERE"]) / name
        elsewhere.mkdir(exist_ok=True)
        os.chdir(elsewhere)
