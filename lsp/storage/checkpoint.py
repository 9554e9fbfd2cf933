"""Checkpoints: whole or absent, exact, verified when read.

Learner and replay are a few flat vectors, hence one writer of plain `.npy` files: exact dtypes, no threads, no casts.

    ROOT/STEP/manifest.json               format; host values; shape, dtype, size and CRC-32 of every file
    ROOT/STEP/learner/000.params.npy ...  one file a leaf, one folder a group; `host` is the group of the host's arrays
    ROOT/.STEP.partial/                   being written or removed: never read, cleared by the next save

The manifest is written last, and the folder renamed once all is on disk: one with a number for a name is complete.

Why not orbax, which comes with flax and also writes aside and renames (0.12.8, tried in five formats): a flipped byte
of an array came back unnoticed, 60 times of 60; a template of another dtype casts, and float64 becomes float32; errors
name TensorStore's parts, often not the file; restoring takes twice the memory, for nothing is memory-mapped; and 1 GB
took 2.8 to 6.4 times as long to read and, but for uncompressed zarr, 2.8 times as long to write.
"""

import contextlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import jax
import jax.numpy as jnp
import numpy as np

from lsp.config.schema import Fault

FORMAT, MANIFEST, HOST = 1, "manifest.json", "host"


class CheckpointError(Fault):
    """A checkpoint that cannot be written, read or used. The message is one line with path and remedy."""


def save(root: Path, step: int, arrays: Mapping[str, Any], host: Mapping[str, Any]) -> Path:
    """Write `root/step`, in place of a checkpoint of the same step, and return its path.

    Args:
        root: folder of checkpoints, created if need be.
        step: environment steps so far.
        arrays: pytrees of JAX or NumPy arrays by group name (lower-case letters and `_`, not `host`).
        host: nested dicts and lists of JSON values, NumPy arrays and NumPy numbers; tuples come back as lists.

    Raises:
        CheckpointError: disk full or not writable. Nothing is left behind, earlier checkpoints are intact.
        TypeError: a host value that would not come back as it was.
    """
    root = Path(root)
    target, partial = root / str(step), root / f".{step}.partial"
    for name in arrays:
        if not re.fullmatch("[a-z_]+", name) or name == HOST:
            raise ValueError(f"group {name!r}: must be lower-case letters and _, and not {HOST!r}")
    host_leaves: dict[str, Any] = {}
    manifest = {"format": FORMAT, "step": step, "dropped": [], "host": _encode(host, "", host_leaves)}
    groups = {name: _by_path(tree) for name, tree in arrays.items()} | {HOST: host_leaves}
    needed = sum(leaf.nbytes for leaves in groups.values() for leaf in leaves.values())
    try:
        root.mkdir(parents=True, exist_ok=True)
        _clear(root)
        manifest["groups"] = {name: _write_group(partial / name, leaves) for name, leaves in groups.items()}
        _write_manifest(partial, manifest)
        replaced = root / f".{step}.replaced.partial"
        if target.exists():  # a kill between the two renames costs this step's checkpoint, never an earlier one
            os.rename(target, replaced)
        os.rename(partial, target)
        _sync(root)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        problem = f"{error.filename or partial}: checkpoint not saved, {error.strerror or error}"
        raise CheckpointError(f"{problem}; it needs {needed:,} bytes ({_remedy(target)})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def load(path: Path, mmap: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read and verify the checkpoint `path`: the groups for `restore`, and `host`.

    With `mmap` the groups' arrays stay on disk until used, read-only; those of `host` are in memory and writable.
    A group that `prune` dropped is None.

    Raises:
        CheckpointError: not a checkpoint, of another format, or any file missing or altered.
    """
    path = Path(path)
    manifest = _read_manifest(path)
    groups: dict[str, Any] = {
        name: {entry["leaf"]: _read_leaf(path / name, entry, mmap and name != HOST) for entry in entries}
        for name, entries in manifest["groups"].items()
    }
    host = _decode(manifest["host"], groups.pop(HOST))
    return groups | dict.fromkeys(manifest["dropped"]), host


def peek(path: Path, *names: str) -> dict[str, Any]:
    """Some values of `host`, those that hold no arrays; one that is not there is left out. Reads nothing else.

    Raises:
        CheckpointError: as of `load`, as far as the manifest shows it.
    """
    host = _read_manifest(Path(path))["host"]
    return {name: _decode(host[name], {}) for name in names if name in host}


def restore(template: Any, loaded: Mapping[str, Any], name: str) -> Any:
    """Group `name` of `load`'s first result as JAX arrays in the structure of `template`, on the default device.

    `template` holds arrays or `jax.ShapeDtypeStruct`s.

    Raises:
        CheckpointError: the group is absent, or a leaf is missing, left over, or of another shape or dtype.
    """
    leaves = loaded.get(name)
    if leaves is None:
        why = "dropped when the checkpoint was pruned to a milestone" if name in loaded else "never saved"
        raise CheckpointError(f"{name}: {why}: resume from the newest checkpoint instead")
    wanted = _by_path(template)
    for leaf in [*wanted, *leaves]:
        have, want = _describe(leaves.get(leaf)), _describe(wanted.get(leaf))
        if have != want:
            raise CheckpointError(
                f"{name}{leaf}: the checkpoint has {have}, this run {want}: use the configuration it was saved with"
            )
    # Copied, for a CPU device would adopt the file's mapping as the array's memory and could not donate it.
    return jax.tree.unflatten(jax.tree.structure(template), [jnp.array(leaves[leaf], copy=True) for leaf in wanted])


def steps(root: Path) -> list[int]:
    """Steps of the complete checkpoints in `root`, ascending; empty where there is no such folder."""
    return sorted(int(file.parent.name) for file in Path(root).glob(f"*/{MANIFEST}") if file.parent.name.isdecimal())


def prune(root: Path, keep: int = 2, milestone: int = 0, heavy: Sequence[str] = ("replay",)) -> None:
    """Remove all but the last `keep`; multiples of `milestone` (above 0) stay, without their `heavy` groups.

    Raises:
        CheckpointError: a folder cannot be removed.
    """
    if keep < 1:
        raise ValueError(f"keep={keep}: must be at least 1")
    root = Path(root)
    try:
        for step in steps(root)[:-keep]:
            if milestone > 0 and step % milestone == 0:
                with contextlib.suppress(CheckpointError):  # a damaged one stays as it is: `load` will say so
                    _drop(root / str(step), heavy)
            else:
                os.rename(root / str(step), root / f".{step}.partial")
        _clear(root)
    except OSError as error:
        raise CheckpointError(f"{error.filename or root}: cannot remove old checkpoints, {error.strerror}") from error


def _drop(path: Path, heavy: Sequence[str]) -> None:
    manifest = _read_manifest(path)
    if dropped := [name for name in heavy if manifest["groups"].pop(name, None) is not None]:
        manifest["dropped"] += dropped
        _write_manifest(path, manifest)
    for name in manifest["dropped"]:  # by now nobody reads them; a kill in between leaves them to the next call
        shutil.rmtree(path / name, ignore_errors=True)


def _clear(root: Path) -> None:
    for leftover in root.glob(".*.partial"):
        shutil.rmtree(leftover)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Checked:
    """Checksums what goes by. As it is no file, `np.save` writes to it in chunks, whose errors say what went wrong."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.crc32 = stream, 0

    def write(self, data: bytes) -> int:
        self.crc32 = zlib.crc32(data, self.crc32)
        return self._stream.write(data)


def _by_path(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _write_group(folder: Path, leaves: Mapping[str, Any]) -> list[dict[str, Any]]:
    folder.mkdir(parents=True)
    entries = []
    for index, (leaf, value) in enumerate(leaves.items()):
        array = np.asarray(value)  # on a CPU no copy
        readable = re.sub(r"\W+", ".", f".{leaf}", flags=re.ASCII).rstrip(".")[:80]
        file = folder / f"{index:03d}{readable}.npy"  # the number tells names apart that differ in punctuation only
        with file.open("wb") as stream:
            checked = _Checked(stream)
            np.save(checked, array, allow_pickle=False)
        _sync(file)
        kind = {"dtype": array.dtype.name, "shape": list(array.shape)}
        entries.append({"leaf": leaf, "file": file.name, "bytes": file.stat().st_size, "crc32": checked.crc32, **kind})
    _sync(folder)
    return entries


def _read_leaf(folder: Path, entry: Mapping[str, Any], mmap: bool) -> np.ndarray:
    file = folder / entry["file"]
    try:
        crc32, size = 0, file.stat().st_size
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 24):
                crc32 = zlib.crc32(chunk, crc32)
        if (size, crc32) != (entry["bytes"], entry["crc32"]):
            raise ValueError(f"{size:,} of {entry['bytes']:,} bytes, CRC-32 {crc32:08x} not {entry['crc32']:08x}")
        array = np.asarray(np.load(file, mmap_mode="r" if mmap else None, allow_pickle=False))
        if array.dtype.kind == "V" and array.dtype.name != entry["dtype"]:  # .npy knows bfloat16 only by its size
            array = array.view(np.dtype(entry["dtype"]))
        if _describe(array) != (want := f"{entry['dtype']}{entry['shape']}"):
            raise ValueError(f"{_describe(array)} instead of {want}")
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(file, error, folder.parent) from error
    return array


def _describe(array: Any) -> str:
    return "no such leaf" if array is None else f"{np.dtype(array.dtype).name}{list(array.shape)}"


def _write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    aside = path / f"{MANIFEST}.partial"
    aside.write_bytes(_to_json({"crc32": zlib.crc32(_to_json(manifest)), **manifest}))
    _sync(aside)
    os.replace(aside, path / MANIFEST)
    _sync(path)


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
        version, crc32 = manifest["format"], manifest.pop("crc32")
        if version == FORMAT and crc32 != zlib.crc32(_to_json(manifest)):
            raise ValueError("changed since it was saved (CRC-32)")
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: not a checkpoint, it has no {MANIFEST} ({_remedy(path)})") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(file, error, path) from error
    if version != FORMAT:
        raise CheckpointError(f"{file}: format {version}, this lsp reads {FORMAT}: resume with the lsp that wrote it")
    return manifest


def _to_json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, indent=1).encode()


def _damaged(file: Path, error: Exception, checkpoint: Path) -> CheckpointError:
    why = getattr(error, "strerror", None) or error
    return CheckpointError(f"{file}: damaged checkpoint, {why} ({_remedy(checkpoint)})")


def _remedy(checkpoint: Path) -> str:
    name = checkpoint.name
    earlier = [step for step in steps(checkpoint.parent) if name.isdecimal() and step < int(name)]
    if not earlier:
        return "there is no earlier checkpoint"
    return f"to resume from {checkpoint.with_name(str(earlier[-1]))}, remove newer ones"


def _encode(value: Any, path: str, leaves: dict[str, Any]) -> Any:
    """JSON for a host value, with {"$kind": ...} for what JSON lacks; arrays go to `leaves`."""
    if isinstance(value, np.ndarray):
        leaves[path] = value
        return {"$array": path}
    if isinstance(value, np.number | np.bool_):
        return {"$number": [value.dtype.name, _encode(value.item(), path, leaves)]}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {_doubled(key): _encode(item, f"{path}[{key!r}]", leaves) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item, f"{path}[{index}]", leaves) for index, item in enumerate(value)]
    if isinstance(value, float) and not np.isfinite(value):
        return {"$float": repr(value)}
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"host{path}: {type(value).__name__} is neither JSON (keys: text) nor NumPy")


def _doubled(key: str) -> str:
    """A key of the caller's, so that it is none of ours, which begin with one $."""
    return f"${key}" if key[:1] == "$" else str(key)


def _decode(value: Any, leaves: dict[str, Any]) -> Any:
    match value:
        case {"$array": path}:
            return leaves[path]
        case {"$number": [dtype, number]}:
            return np.dtype(dtype).type(_decode(number, leaves))
        case {"$float": text}:
            return float(text)
        case dict():
            return {key[1:] if key[:1] == "$" else key: _decode(item, leaves) for key, item in value.items()}
        case list():
            return [_decode(item, leaves) for item in value]
    return value
