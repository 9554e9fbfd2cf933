"""What was started with a worker ends with the learner, or when the learner says so, and nothing else does."""

import os
import signal
import subprocess
import sys

from lsp.executors.janitor import Janitor
from tests.support.processes import ROOT, gone, is_alive

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(100)"]


def group() -> subprocess.Popen[bytes]:
    """A process that leads a group of its own."""
    return subprocess.Popen(SLEEP, process_group=0)


def test_ends_a_group_once() -> None:
    janitor, mine, other = Janitor(), group(), group()
    try:
        janitor.watch(mine.pid)
        janitor.end(other.pid)  # it was never told of this one
        janitor.end(mine.pid)
        assert gone([mine.pid])
        assert is_alive(other.pid)
        janitor.close()
        janitor.close()
        janitor.watch(other.pid)  # nobody listens any more, and nothing depends on it
    finally:
        for each in (mine, other):
            each.kill()
            each.wait()


LEARNER = """
import os, sys
from lsp.executors.janitor import Janitor
janitor = Janitor()
for pid in sys.argv[1:]:
    janitor.watch(int(pid))
janitor._groups.discard(int(sys.argv[2]))
janitor._tell(f"forget {sys.argv[2]}")
print(janitor._process.pid, flush=True)
sys.stdin.read()
"""


def test_ends_them_when_the_learner_is_killed() -> None:
    groups = [group() for _ in range(2)]
    try:
        command = [sys.executable, "-c", LEARNER, *(str(each.pid) for each in groups)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as learner:
            assert learner.stdout is not None
            janitor = int(learner.stdout.readline())
            os.kill(learner.pid, signal.SIGKILL)
        assert gone([janitor, groups[0].pid])
        assert is_alive(groups[1].pid)
    finally:
        for each in groups:
            each.kill()
            each.wait()
