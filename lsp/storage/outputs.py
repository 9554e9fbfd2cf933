"""A run's files, open for writing, and the sinks that get the same numbers."""

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lsp.config import Config, ConfigError, to_dict
from lsp.config.critic import support_warning
from lsp.storage import provenance, sinks
from lsp.storage.metrics import JsonLines


class Outputs:
    """`metrics.jsonl`, `eval.jsonl`, and whatever `--track` names."""

    def __init__(self, run_dir: Path, config: Config, step: int, clock: Callable[[], float] | None = None) -> None:
        """Open them for a run that stands at environment step `step`; `clock` says its seconds, noted when it ends."""
        self._metrics, self._evaluations = JsonLines(run_dir / "metrics.jsonl"), JsonLines(run_dir / "eval.jsonl")
        self._run_dir, self._warned, self._support_scale, self._clock = run_dir, False, 1.0, clock
        self._sinks = sinks.make(config.track, run_dir, to_dict(config), step)

    def write_metrics(self, line: Mapping[str, Any]) -> None:
        """Append a line of metrics. A person is told, once, if the critics' support is too small, and if it widens."""
        self._metrics.write(line)
        where = f"{self._run_dir.name}: {{}} at step {line['step']:,}:"
        if not self._warned and (warning := support_warning(line)):
            print(where.format("warning"), warning, file=sys.stderr)
            self._warned = True
        scale = line.get("support_scale", self._support_scale)
        if scale != self._support_scale:
            print(where.format("note"), f"the critics' support has become {scale:g} times as wide", file=sys.stderr)
            self._support_scale = scale
        self._tell(line, "train")

    def write_evaluation(self, *records: Mapping[str, Any]) -> None:
        """Append an evaluation, under one or more protocols: all or nothing."""
        self._evaluations.write(*records)
        for record in records:
            self._tell(record, f"eval_{record['protocol']}")

    def _tell(self, record: Mapping[str, Any], prefix: str) -> None:
        for sink in list(self._sinks):
            try:
                sink.write(record["step"], sinks.scalars_of(record, prefix))
            except Exception as error:  # whatever a service may raise: training does not depend on it
                self._sinks.remove(sink)
                print(f"{type(sink).__name__} failed and is left out from now on: {error}", file=sys.stderr)

    def offsets(self) -> dict[str, int]:
        """Bytes in each file, all of them on disk: what a checkpoint notes down."""
        return {"metrics": self._metrics.offset(), "eval": self._evaluations.offset()}

    def close(self) -> None:
        """Close everything."""
        self._metrics.close()
        self._evaluations.close()
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as error:  # as above
                print(f"{type(sink).__name__} could not be closed: {error}", file=sys.stderr)
        if self._clock is not None:
            with suppress(ConfigError, OSError):  # a full disk, say: the session has ended for a reason of its own
                provenance.ended(self._run_dir, self._clock())
