"""Run folders with made-up returns, as training would have written them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lsp.config import Config, to_dict
from lsp.storage.metrics import JsonLines

EVERY = 1_000
SPEED = 500  # environment steps a second


def write_run(
    folder: Path,
    returns: Sequence[float],
    *,
    protocols: Sequence[str] = ("sampled",),
    at: Sequence[int] | None = None,
    **fields: Any,
) -> Path:
    """A run with an evaluation every 1,000 steps (or `at` others), of two episodes around each of `returns`.

    The second protocol returns ten times as much. The task ends one episode in two; the forward speed is a thousandth
    of the return, where the environment is an ant; where it is a reacher, three episodes in four meet their goal.
    `fields` are of the configuration, with `__` for a dot.
    """
    given = {name.replace("__", "."): value for name, value in fields.items()}
    steps = at or [EVERY * i for i in range(1, len(returns) + 1)]
    config = to_dict(Config()) | {"steps": steps[-1]} | given
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"config": config}))
    evaluations, progress = JsonLines(folder / "eval.jsonl"), JsonLines(folder / "metrics.jsonl")
    for now, value in zip(steps, returns, strict=True):
        step = {"step": now, "updates": now - 500}
        for factor, protocol in zip((1, 10), protocols, strict=False):
            both = [factor * value - 1, factor * value + 1]
            record = {"protocol": protocol, "return": factor * value, "returns": both, "terminated": [True, False]}
            speeds = {"info/x_velocity": [each / 1000 for each in both]} if "Ant" in config["env"] else {}
            success = {"success": [True, True, True, False]} if "Reacher" in config["env"] else {}
            evaluations.write(step | record | {"lengths": [1000, 1000]} | speeds | success)
        progress.write(step | {"seconds": now / SPEED})
    evaluations.close()
    progress.close()
    return folder
