"""A finished run in a small folder that names no machine, for others to check, repeat and play with.

    config.json   with folders relative to where the command is typed
    eval.jsonl    whole
    metrics.jsonl whole up to half a megabyte; of longer ones every tenth line, or every hundredth, ...
    layers/       the policy's layers, for --from-layers
    policy/       the policy as NumPy and StableHLO

Checkpoints stay behind: most of one is replay.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from lsp.config import ConfigError
from lsp.storage import checkpoint, layer_files
from lsp.storage.run_folder import read_document

POLICY = "policy"
METRICS_BYTES = 500_000
MACHINE_PATH = re.compile(r"(?<![\w./\])}])(?:/(?!/)|~/|[A-Za-z]:[\\/]+)\w[^\s\"']*")
"""A folder that one machine alone has: an absolute one, of any system."""


def publish(run_dir: Path, out: Path, root: Path) -> list[str]:
    """Write the folder `out` of a finished run that has a `policy/`; returns what its reader should know, in lines.

    Args:
      run_dir: the run.
      out: a new folder.
      root: below which folders are named relative to it.

    Raises:
      ConfigError: in one line, that the run is not finished, that `out` exists, or which file names a machine's folder.
    """
    check(run_dir, out)
    document = json.loads(json.dumps(read_document(run_dir)).replace(f"{root}/", ""))
    texts = {
        "config.json": json.dumps(document, indent=2) + "\n",
        "eval.jsonl": _text(run_dir / "eval.jsonl"),
        "metrics.jsonl": thinned(_text(run_dir / "metrics.jsonl")),
        f"{POLICY}/policy.json": _text(run_dir / POLICY / "policy.json"),
    }
    for name, text in texts.items():
        if found := MACHINE_PATH.search(text):
            raise ConfigError(f"{run_dir / name} names {found[0]}, which other machines do not have: make it relative")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for folder in (POLICY, layer_files.FOLDER):
            shutil.copytree(run_dir / folder, partial / folder)
        for name, text in texts.items():
            (partial / name).write_text(text)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _notes(document)


def check(run_dir: Path, out: Path) -> None:
    """Raise ConfigError where `out` exists, or the run is still to be trained, so that its layers are not its last."""
    if out.exists():
        raise ConfigError(f"{out} exists: choose another folder, or remove it")
    config = read_document(run_dir)["config"]
    newest = checkpoint.steps(run_dir / "checkpoints")[-1:]
    if newest and newest[0] < config["steps"]:
        raise ConfigError(f"{run_dir} has {newest[0]:,} of {config['steps']:,} steps: let it finish")
    layer_files.load(run_dir)


def thinned(text: str, limit: int = METRICS_BYTES) -> str:
    """Every line, or where that is more than `limit` bytes, every tenth or hundredth or ..., counted from the first."""
    lines, every = text.splitlines(keepends=True), 1
    while sum(map(len, lines[every - 1 :: every])) > limit:
        every *= 10
    return "".join(lines[every - 1 :: every])


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _notes(document: dict[str, Any]) -> list[str]:
    revisions = {session.get("git") or "unknown" for session in document.get("sessions", [document])}
    return [
        f"trained at revision {revision}, which nobody else can check out"
        for revision in sorted(revisions)
        if revision == "unknown" or revision.endswith("-dirty")
    ]
