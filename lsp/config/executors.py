"""The part of a configuration that says how experience is collected; see `lsp.config`, which has the rest."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lsp.config.schema import AtLeastOne, Count, Natural, Positive

QUEUED = 5_000
"""Transitions that --executors.queue=as-coded holds back."""
STILL_STEPS = 100
"""Steps that a body must stay in one place to count as motionless (`lsp.executors.stillness`)."""


@dataclass(frozen=True)
class ExecutorsConfig:
    """Collection of experience."""

    engine: Literal["inproc", "process", "ray"] = "inproc"
    """Where environments live: in the learner's process; in worker processes on this machine's other cores; in actors
    of a Ray cluster (an extra: python -m pip install -e '.[ray]')."""
    address: str = ""
    """HOST:PORT of a Ray cluster; where it is empty, one on this machine for as long as the run lasts."""
    count: Count = 1
    """Executors, each with an environment of its own, stepped together; at least 1."""
    workers: Natural = 0
    """Processes (ray: actors) that share the executors, none of them without one; 0 is one a core. Not for inproc."""
    mode: Literal["sync", "sync_pipelined", "async"] = "sync"
    """Act on the parameters of the latest dispatch; or on those of the one before, so that environments step while the
    learner updates, which takes a second core; or in each worker on a copy of its own, as in Ape-X (not for inproc)."""
    chunk: Count = 16
    """Transitions that an executor collects before it hands them over, in the async mode."""
    in_flight: Count = 2
    """Rollouts that an async worker may be ahead of the learner; with fewer, data are fresher and workers wait more."""
    publish_every: Count = 50
    """Updates between two versions of the parameters that async workers get."""
    timeout: Positive = 300.0
    """Seconds after which a worker that does not answer is killed and started again; it must have time to start up, and
    to collect --executors.chunk transitions. Not for inproc."""
    queue: Literal["none", "as-coded"] = "none"
    """as-coded: transitions reach replay as in the study's code, through a queue in which 5,000 wait and which, by a
    wrong key, serves those that end an episode last. Of one layer, in lock-step."""
    exploration: AtLeastOne = 1.0
    """Executors explore differently, as in Ape-X: their latents' standard deviations go from 1/x to x, in equal ratios;
    1 is the policy as it is. Of little use where rewards are dense."""


def latent_scales(executors: ExecutorsConfig) -> tuple[float, ...] | None:
    """Standard deviation of the latents of each executor, x^(2i/(E-1) - 1), of a single one 1; None if all are 1."""
    last = executors.count - 1
    if executors.exploration == 1 or last == 0:
        return None
    return tuple(executors.exploration ** (2 * i / last - 1) for i in range(executors.count))


def relations(executors: ExecutorsConfig) -> Iterator[tuple[str, bool, str]]:
    """What no single type can say: a field, whether its value goes with the others, and the rule."""
    if executors.engine == "inproc":
        rule = "0 with --executors.engine=inproc; for more add --executors.engine=process"
        yield "executors.workers", executors.workers == 0, rule
        rule = "sync or sync_pipelined with --executors.engine=inproc; or add --executors.engine=process"
        yield "executors.mode", executors.mode != "async", rule
    rule = "empty with any other engine than --executors.engine=ray"
    yield "executors.address", executors.engine == "ray" or not executors.address, rule
    yield "executors.queue", executors.queue == "none" or executors.mode != "async", "none with --executors.mode=async"
    rule = f"at most --executors.count={executors.count}"
    yield "executors.workers", executors.workers <= executors.count, rule
