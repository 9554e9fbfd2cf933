"""The net under the trapeze: short runs of the command line come to the same numbers, bit for bit, as when recorded.

`digests.json` holds a digest of every run's newest checkpoint and files of metrics, blind to names: arrays and columns
count, not what they are called. So a refactoring that moves and renames must leave it as it is, and one that changes a
number does not. Numbers are those of one kind of machine and of one set of packages; elsewhere these tests skip.

    python -m pytest -m audit tests/test_digests.py       compare
    python -m tests.test_digests --record                 record anew: LSP_RECORD_DIGESTS=1 and the same

Not here: `--executors.mode=async`, whose workers race, and `--executors.engine=ray`, an extra.
Blind to names has two limits. Two columns, or two arrays of one shape, whose names are swapped pass. And Flax derives
first values from the names of modules and flat vectors are in their order, so that renaming a network's parts shows.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from lsp import run
from lsp.storage import checkpoint
from tests.support.runs import compiled_once  # noqa: F401  # a fixture

pytestmark = [pytest.mark.audit, pytest.mark.usefixtures("compiled_for_good")]

RECORD = "LSP_RECORD_DIGESTS"
FILE = Path(__file__).with_name("digests.json")
VOLATILE = {"seconds", "evaluation_seconds", "executor_deaths", "executor_restarts"}
"""Columns that are the wall clock's, or that only some engines write."""
PARTS = {"learner": "arrays", "replay": "arrays", "host": "arrays", "metrics": "columns", "evaluations": "columns"}

FLAGS = {
    "agent": "agent",
    "preset": "preset",
    "env": "env",
    "env_kwargs": "env-kwargs",
    "steps": "steps",
    "seeds": "seeds",
    "resume": "resume",
    "runs_dir": "runs-dir",
    "name": "name",
    "n_step": "n-step",
    "utd": "utd",
    "block": "block",
    "warmup": "warmup-steps",
    "starts": "learning-starts",
    "log": "log-every",
    "layers": "layers",
    "layer_steps": "layer-steps",
    "layer_rewards": "layer-rewards",
    "from_layers": "from-layers",
    "critic_warmup": "growth.critic-warmup",
    "growth_entropy": "growth.entropy",
    "hidden": "flow.hidden-sizes",
    "embedding": "flow.embedding-sizes",
    "zero_init": "flow.zero-init",
    "critic_hidden": "critic.hidden-sizes",
    "critic_target": "critic.target",
    "tau": "critic.tau",
    "critic_rate": "critic.learning-rate",
    "policy_rate": "policy.learning-rate",
    "temperature_rate": "temperature.learning-rate",
    "atoms": "critic.num-atoms",
    "support": "critic.support",
    "v_min": "critic.v-min",
    "v_max": "critic.v-max",
    "law": "critic.distribution-target",
    "norm_rewards": "normalize.rewards",
    "replay": "replay.kind",
    "capacity": "replay.capacity",
    "batch": "replay.batch-size",
    "scheme": "replay.scheme",
    "rank_refresh": "replay.rank-refresh",
    "priority": "replay.priority",
    "weights": "replay.weights",
    "strategy": "goals.strategy",
    "engine": "executors.engine",
    "executors": "executors.count",
    "workers": "executors.workers",
    "mode": "executors.mode",
    "exploration": "executors.exploration",
    "evaluate": "evaluation.every",
    "episodes": "evaluation.episodes",
    "protocols": "evaluation.protocols",
}
"""Every flag that these runs use, by the name it has here: if flags are renamed, this is the place to adapt."""

Given = dict[str, Any]
SIZES = {"zero_init": "false", "hidden": 8, "embedding": "16,8", "critic_hidden": "16,16", "capacity": 256, "batch": 16}
TINY: Given = {"steps": 400, "warmup": 40, "starts": 72, "log": 40, "evaluate": 200, "episodes": 2}
TINY |= SIZES | {"env": "lsp/PointMass-v0", "env_kwargs": '{"max_episode_steps": 17}', "protocols": "sampled"}
EARLIER: Given = {"utd": 1, "critic_rate": 3e-4, "policy_rate": 3e-4, "temperature_rate": 3e-4}
"""What the distributed agents had when their digests were recorded."""
REACHER = {"agent": "hindsight", "env": "lsp/Reacher2D-v0"}
ANT: Given = {"agent": "distributed_prioritized", "env": "lsp/RllabAnt-v0", "env_kwargs": '{"max_episode_steps": 60}'}
ANT |= {"steps": 800, "warmup": 400, "starts": 400, "log": 80, "evaluate": 400, "episodes": 2}
ANT |= {"capacity": 2000} | EARLIER
STUDY = {"preset": "dissertation"}
TWO: Given = {"layers": 2, "layer_steps": "120,280", "critic_warmup": 20}
SIDE_BY_SIDE = {"agent": "distributed_prioritized", "executors": 3, "block": 2} | EARLIER
CATEGORICAL = {"agent": "categorical", "atoms": 21}
HALF: Given = {"steps": 200, "layer_steps": "120,80"}
WHOLE = {"steps": TINY["steps"]}
AGENTS = ("sac_lsp", "prioritized", "categorical", "distributed", "distributed_prioritized", "hindsight")


class Case(NamedTuple):
    """A run, or one that is resumed."""

    flags: Given  # over TINY
    resumed: Given | None = None  # flags of a second command line, which goes on with the first one's run
    below: str = ""  # the case whose layers lie below this run's
    over: Given = TINY  # other flags


def _agents() -> dict[str, Case]:
    """Every agent as both presets have it."""
    flags = {name: REACHER if name == "hindsight" else {"agent": name} for name in AGENTS}
    modern = {name: Case(given | {"protocols": "sampled,mode"}) for name, given in flags.items()}
    for name in ("distributed", "distributed_prioritized"):
        modern[name] = Case(modern[name].flags | EARLIER)
    study = STUDY | {"protocols": "fixed_latent"}
    return modern | {f"{name}, study": Case(study | given) for name, given in flags.items()}


UNWEIGHTED: Given = {"replay": "prioritized", "weights": "none"}
CASES = _agents() | {
    "two layers": Case(TWO),
    "two layers, study": Case(STUDY | TWO | {"critic_warmup": 0}),
    "two layers, action entropy": Case(TWO | {"growth_entropy": "action", "agent": "categorical", "executors": 2}),
    "two layers, rewards": Case(TWO | {"layer_rewards": "env,distance"}),
    "two layers, hindsight": Case(TWO | REACHER),
    "on layers": Case({"agent": "prioritized"}, below="two layers"),
    "on layers, study": Case(STUDY, below="two layers, study"),
    "seeds": Case({"seeds": 3}),
    "seeds, prioritized": Case({"seeds": 3, "agent": "distributed_prioritized", "executors": 2} | EARLIER),
    "seeds, two layers": Case({"seeds": 3} | TWO),
    "pipelined": Case(SIDE_BY_SIDE | {"mode": "sync_pipelined", "exploration": 3, "utd": 0.5}),
    "n-step": Case({"n_step": 5, "block": 4, "norm_rewards": "true", "env": "Hopper-v5"}),
    "hindsight, prioritized": Case(REACHER | UNWEIGHTED | {"executors": 2, "strategy": "final"}),
    "adaptive support": Case(CATEGORICAL | {"support": "adaptive", "v_min": -0.5, "v_max": 0.5, "utd": 2}),
    "even atoms": Case(CATEGORICAL | {"support": "even", "law": "hl_gauss", "v_min": -50, "critic_target": "cdf_max"}),
    "symexp atoms": Case(CATEGORICAL | UNWEIGHTED | {"support": "symexp", "priority": "kl"}),
    "ranks": Case({"agent": "prioritized", "scheme": "rank", "rank_refresh": 50, "priority": "td", "weights": "all"}),
    "side by side": Case(SIDE_BY_SIDE),
    "in processes": Case(SIDE_BY_SIDE | {"engine": "process", "workers": 2}),
    "resumed": Case({"agent": "prioritized", "steps": 200, "protocols": "sampled,mode"}, WHOLE),
    "resumed seeds": Case({"seeds": 3, "steps": 200}, WHOLE),
    "resumed, two layers": Case(TWO | HALF, WHOLE),
    "resumed seeds, two layers": Case({"seeds": 3} | TWO | HALF, WHOLE),
    "ant": Case({}, over=ANT),
}
SAME = {
    "in processes": "side by side",
    "resumed": "prioritized",
    "resumed seeds": "seeds",
    "resumed, two layers": "two layers",
    "resumed seeds, two layers": "seeds, two layers",
}
"""Runs that must come to the same numbers, whatever is recorded."""


class Runs:
    """Runs of this session: each is made once."""

    def __init__(self, root: Path) -> None:
        """They go into folders of `root`."""
        self.root = root
        self._digests: dict[str, dict[str, Any]] = {}

    def folder(self, name: str) -> Path:
        """The folder of a case, which has run."""
        folder = self.root / re.sub(r"\W+", "_", name)
        if not folder.exists():
            self.train(folder, CASES[name])
        return folder

    def train(self, folder: Path, case: Case) -> None:
        """Run a case."""
        where = {"runs_dir": folder.parent, "name": folder.name}
        layers = {"from_layers": self.folder(case.below)} if case.below else {}
        assert run.main(command(case.over | case.flags | where | layers)) == 0
        if case.resumed is not None:
            assert run.main(command({"resume": folder} | case.resumed)) == 0

    def digest(self, name: str) -> dict[str, Any]:
        """The digest of a case."""
        if name not in self._digests:
            self._digests[name] = digest(self.folder(name))
        return self._digests[name]


def command(given: Given) -> list[str]:
    """A command line of flags by their names here."""
    return [f"--{FLAGS[name]}={value}" for name, value in given.items()]


def folders_of(folder: Path) -> list[Path]:
    """The folders of a run, or of one for each seed."""
    if (folder / "config.json").exists():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/config.json"))


def newest_arrays(folder: Path) -> dict[str, list[np.ndarray]]:
    """All arrays of a run's newest checkpoint: the learner's, replay's and the host's."""
    root = folder / "checkpoints"
    groups, host = checkpoint.load(root / str(checkpoint.steps(root)[-1]))
    assert sorted(groups) == ["learner", "replay"]
    arrays = {name: list(group.values()) for name, group in groups.items()}
    return arrays | {"host": [leaf for leaf in jax.tree.leaves(host) if isinstance(leaf, np.ndarray)]}


def lines(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of a run's metrics and evaluations."""
    files = {"metrics": folder / "metrics.jsonl", "evaluations": folder / "eval.jsonl"}
    return {name: [json.loads(line) for line in file.read_text().splitlines()] for name, file in files.items()}


def digest(folder: Path) -> dict[str, Any]:
    """What PARTS names, of a run or of all seeds together; of columns, one digest each, by name for people to read."""
    arrays: dict[str, list[str]] = {part: [] for part, kind in PARTS.items() if kind == "arrays"}
    columns: dict[str, dict[str, str]] = {part: {} for part, kind in PARTS.items() if kind == "columns"}
    for each in folders_of(folder):
        label = "" if each == folder else f"{each.name}/"
        for part, found in newest_arrays(each).items():
            arrays[part] += [short_hash(f"{a.dtype.name}{a.shape}".encode() + a.tobytes()) for a in found]
        for part, records in lines(each).items():
            columns[part] |= {f"{label}{name}": hashed for name, hashed in columns_of(records).items()}
    return {part: short_hash("".join(sorted(hashes)).encode()) for part, hashes in arrays.items()} | columns


def columns_of(records: list[dict[str, Any]]) -> dict[str, str]:
    """The digest of each column that is not VOLATILE; a line without it counts as a hole."""
    names = {name: None for record in records for name in record if name not in VOLATILE}
    return {name: short_hash(repr([record.get(name, ...) for record in records]).encode()) for name in names}


def short_hash(data: bytes) -> str:
    """A digest short enough for a file of thousands."""
    return hashlib.sha256(data).hexdigest()[:12]


def differences(before: Given, now: Given) -> list[str]:
    """A line for each of PARTS that is not the same: for columns, which are gone and which are new."""
    found = []
    for part, kind in PARTS.items():
        if kind == "arrays" and before[part] != now[part]:
            found.append(f"{part}: arrays differ")
        if kind == "columns":
            gone, new = surplus(before[part], now[part]), surplus(now[part], before[part])
            if gone or new:
                found.append(f"{part}: gone are the columns {', '.join(gone)}; new are {', '.join(new)}")
    return found


def surplus(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Names of our columns that are more than theirs, of which one may have any name."""
    left = Counter(ours.values()) - Counter(theirs.values())
    return [name for name, hashed in ours.items() if hashed in left and theirs.get(name) != hashed]


def machine() -> dict[str, str]:
    """What numbers depend on beside the code."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    model, flags = (re.search(rf"^{name}\s*: (.*)$", text, re.MULTILINE) for name in ("model name", "flags"))
    simd = [flag for flag in flags[1].split() if re.match("avx|fma|sse|amx|bmi", flag)] if flags else []
    found = {"cpu": model[1] if model else platform.processor(), "simd": short_hash(" ".join(sorted(simd)).encode())}
    found |= {"system": f"{platform.system()} {platform.machine()}", "python": platform.python_version()}
    found |= {name: version(name) for name in ("jax", "jaxlib", "numpy", "mujoco", "gymnasium")}
    return found | {"hasty": str(jax.config.read("jax_disable_most_optimizations"))}


def recorded() -> dict[str, Any]:
    """What FILE holds."""
    return json.loads(FILE.read_text()) if FILE.exists() else {"machine": {}, "digests": {}}


def record(name: str, found: Given) -> None:
    """Put a case's digest into FILE; drop those of another machine, and of cases that are no more."""
    before, here = recorded(), machine()
    digests = before["digests"] if before["machine"] == here else {}
    digests |= {name: found}
    document = {"machine": here, "digests": {name: digests[name] for name in CASES if name in digests}}
    FILE.write_text(json.dumps(document, indent=1) + "\n")


@pytest.fixture(scope="module")
def compiled_for_good(compiled_once: None, request: pytest.FixtureRequest) -> None:  # noqa: F811
    """What one session compiles the next ones find in pytest's cache, as long as the programs are the same."""
    cache = request.config.cache
    assert cache is not None
    jax.config.update("jax_compilation_cache_dir", str(cache.mkdir("compiled")))  # `compiled_once` puts it back
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The runs of this session."""
    return Runs(tmp_path_factory.mktemp("digests"))


def frozen(name: str) -> dict[str, Any]:
    """The recorded digest of a case; skips where it is another machine's."""
    document, here = recorded(), machine()
    there = {key: document["machine"].get(key, "unknown") for key in here}
    if other := [f"{key} is {here[key]}, not {there[key]}" for key in here if here[key] != there[key]]:
        pytest.skip(f"digests were recorded elsewhere ({'; '.join(other)}): record them anew from the last good commit")
    assert name in document["digests"], f"{name}: not recorded: python -m tests.test_digests --record"
    return document["digests"][name]


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_as_recorded(name: str, runs: Runs) -> None:
    now = runs.digest(name)
    if os.environ.get(RECORD):
        record(name, now)
    assert differences(frozen(name), now) == [], name


@pytest.mark.parametrize("name", SAME)
def test_two_ways_to_the_same(name: str, runs: Runs) -> None:
    assert differences(runs.digest(SAME[name]), runs.digest(name)) == [], f"{name} is not {SAME[name]}"


def test_one_ulp_is_noticed(runs: Runs, tmp_path: Path) -> None:
    tau = np.nextafter(np.float32(0.005), np.float32(1))
    runs.train(tmp_path / "changed", Case({"tau": tau} | CASES["sac_lsp"].flags))
    assert differences(runs.digest("sac_lsp"), digest(tmp_path / "changed"))[0] == "learner: arrays differ"


if __name__ == "__main__":
    if sys.argv[1:] != ["--record"]:
        sys.exit(__doc__)
    # A process of its own, for `conftest` must come before JAX.
    arguments = ["-m", "pytest", "-m", "audit", "-q", "--durations=0", __file__]
    sys.exit(subprocess.run([sys.executable, *arguments], env=os.environ | {RECORD: "1"}, check=False).returncode)
