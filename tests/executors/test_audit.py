"""50,000 transitions under faults, by their numbers: none that was handed over is missing, and none came twice.

Minutes long, so not part of a plain run: `pytest -m audit -s` runs them and prints what they counted.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp.config.executors import ExecutorsConfig
from lsp.executors.async_workers import AsyncWorkers
from lsp.executors.process import make_process
from lsp.types import Rollout
from tests.support.processes import ROOT, gone
from tests.support.workers import COUNT, MAKER, SPEC, RandomPolicy, account, pids

pytestmark = [pytest.mark.audit, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ROWS = 50_000
CHUNKS = [16, 512]  # of 512 rows a rollout is too large for a message of Ray's: it comes through the shared store


def collect(pool: AsyncWorkers, after_poll: Callable[[int], None] = lambda rows: None) -> list[Rollout]:
    """`ROWS` rows at least, under ever new parameters, and all that is on its way then."""
    pool.reset()
    rollouts: list[Rollout] = []
    rows = version = 0
    while rows < ROWS:
        version += 1
        pool.publish([np.full(100_000, version, np.float32)], version)
        pool.request_rollouts(False)
        rollouts += pool.poll(1.0)
        rows = sum(len(rollout.packed) for rollout in rollouts)
        after_poll(rows)
    return rollouts + pool.drain()


def audit(pool: AsyncWorkers, rollouts: list[Rollout]) -> dict[str, int]:
    """Counts over all executors and their incarnations, whose rows are numbered from 0."""
    found = account(rollouts)
    following = {(executor, life): number for executor, life, number in pool.get_state()["origins"].tolist()}
    counts = {
        "rows": sum(map(len, found.values())),
        "incarnations": len(found),
        "duplicates": sum(len(numbers) - len(set(numbers)) for numbers in found.values()),
        "missing": sum(max(numbers) + 1 - len(set(numbers)) for numbers in found.values()),
        # Of those that live: made and not handed over, though nothing is on its way.
        "withheld": sum(abs(number - len(found.get(which, []))) for which, number in following.items()),
        "late": sum(int(np.sum(np.diff(numbers) < 0)) for numbers in found.values()),
        "misranked": sum(
            not np.allclose(rollout.priorities, rollout.version * np.abs(rollout.packed[:, -6])) for rollout in rollouts
        ),
    }
    return counts | pool.stats()


def assert_whole(counts: dict[str, int]) -> None:
    print(f"\n{json.dumps(counts)}")
    assert counts["rows"] >= ROWS
    assert [counts[name] for name in ("duplicates", "missing", "withheld", "misranked")] == [0] * 4
    assert counts["executor_deaths"] == counts["executor_restarts"]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_processes_killed_again_and_again(chunk: int) -> None:
    """At moments that nobody chose: while they collect, write, wait or start up."""
    config = ExecutorsConfig(engine="process", mode="async", count=COUNT, workers=2, chunk=chunk)
    pool, rng, victims = make_process(config, MAKER, RandomPolicy, SPEC), np.random.default_rng(0), []
    assert isinstance(pool, AsyncWorkers)

    def kill() -> None:
        victims.append(pids(pool)[int(rng.integers(2))])
        os.kill(victims[-1], signal.SIGKILL)

    def kill_soon(rows: int) -> None:
        if rows >= 4_000 * (len(timers) + 1):
            timers.append(threading.Timer(rng.uniform(0, 0.2), kill))
            timers[-1].start()

    timers: list[threading.Timer] = []
    try:
        rollouts = collect(pool, kill_soon)
        for timer in timers:
            timer.join()
        counts = audit(pool, rollouts)
        victims += pids(pool)
    finally:
        pool.close()
    assert gone(victims, 0.0)
    assert_whole(counts | {"kills": len(timers)})
    assert counts["executor_restarts"] >= 8 * COUNT // 2


def ray_pool(address: str, chunk: int, workers: int) -> Any:
    """A pool on a cluster that is there."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    from lsp.executors.ray import make_ray

    config = ExecutorsConfig(
        engine="ray", mode="async", address=address, count=COUNT, workers=workers, chunk=chunk, timeout=60.0
    )
    return make_ray(config, MAKER, RandomPolicy, SPEC)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_machine_lost(chunk: int) -> None:
    """Three raylets stand for three machines; one goes, and its actors come back on the others."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    machines = {node.node_id: node for node in (cluster.add_node(num_cpus=2) for _ in range(3))}
    removed: list[str] = []
    pool = ray_pool(cluster.address, chunk, workers=4)
    try:
        placed: list[str] = []
        since: list[float] = []

        def remove(rows: int) -> None:
            if rows > ROWS // 3 and not removed:
                placed.extend(map(machine_of, pool._workers))
                removed.append(placed[0])
                cluster.remove_node(machines[removed[0]], allow_graceful=False)
                since.append(time.monotonic())
            if len(since) == 1 and pool.stats()["executor_restarts"]:
                since.append(time.monotonic())

        rollouts = collect(pool, remove)
        counts = audit(pool, rollouts)
        now = list(map(machine_of, pool._workers))
    finally:
        pool.close()
        cluster.shutdown()
    lost = placed.count(removed[0])
    assert_whole(counts | {"actors_lost": lost, "seconds_to_the_first_return": round(since[1] - since[0])})
    assert removed[0] not in now
    assert set(now) <= set(machines)
    assert counts["executor_restarts"] >= lost


def machine_of(worker: Any) -> str:
    """Of an actor."""
    import ray

    node = worker._actor.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id())
    return str(ray.get(node))


SPACES = [f"lsp-{name}-{os.getpid()}" for name in ("head", "far")]
ENDS, ADDRESSES = ("lsp-veth0", "lsp-veth1"), ("10.99.0.1", "10.99.0.2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def inside(space: str, *command: str) -> list[str]:
    return ["ip", "netns", "exec", space, *command]


@pytest.fixture
def two_machines() -> Iterator[None]:
    """Two network namespaces, joined by a cable; whatever runs in them at the end is killed."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and iproute2")
    try:
        ip("netns", "add", SPACES[0])
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    try:
        ip("netns", "add", SPACES[1])
        ip("link", "add", ENDS[0], "netns", SPACES[0], "type", "veth", "peer", "name", ENDS[1], "netns", SPACES[1])
        for space, end, address in zip(SPACES, ENDS, ADDRESSES, strict=True):
            ip("-n", space, "addr", "add", f"{address}/24", "dev", end)
            for device in (end, "lo"):
                ip("-n", space, "link", "set", device, "up")
        yield
    finally:
        for space in SPACES:
            found = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True).stdout.split()
            for pid in map(int, found):
                os.kill(pid, signal.SIGKILL)
            assert gone(list(map(int, found)))
            subprocess.run(["ip", "netns", "del", space], check=False)


def drive(address: str, chunk: int) -> None:
    """The learner's side, in a process of its own: says when to cut the cable, and what came."""
    pool = ray_pool(address, chunk, workers=2)
    said: list[int] = []

    def say(rows: int) -> None:
        if rows > ROWS // 3 and not said:
            said.append(rows)
            print("cut", flush=True)

    rollouts = collect(pool, say)
    print(json.dumps(audit(pool, rollouts)), flush=True)
    pool.close()


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.usefixtures("two_machines")
def test_a_cable_cut_for_two_seconds(chunk: int, tmp_path: Path) -> None:
    """Head and learner on one side of it, the executors on the other."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4)
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "PYTHONPATH": str(ROOT)}
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats"]
    sides = (
        ["--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false"],
        [f"--address={ADDRESSES[0]}:6379", "--num-cpus=2"],
    )
    for space, address, options in zip(SPACES, ADDRESSES, sides, strict=True):
        command = inside(space, *start, f"--node-ip-address={address}", *options)
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, timeout=120)
    script = f"from tests.executors.test_audit import drive; drive('{ADDRESSES[0]}:6379', {chunk})"
    command = inside(SPACES[0], sys.executable, "-c", script)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "cut\n"
        ip("-n", SPACES[1], "link", "set", ENDS[1], "down")
        time.sleep(2)
        ip("-n", SPACES[1], "link", "set", ENDS[1], "up")
        counts = json.loads(driver.stdout.readline())
        assert driver.wait(60) == 0
    assert_whole(counts)
