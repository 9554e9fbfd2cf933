"""What is saved comes back bit for bit, or one line says why not."""

import json
import math
import tracemalloc
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsp.storage import checkpoint
from lsp.storage.checkpoint import CheckpointError


class State(NamedTuple):
    params: Any
    count: Any
    extra: Any


def learner() -> State:
    """Every container and dtype that a learner may hold, and values that casts and text would spoil."""
    params = {"q/0": jnp.array([0.1, -0.0, jnp.nan, jnp.inf, 1e-45]), "q.0": jnp.zeros((0, 3))}
    extra = (None, [jnp.array([2**32 - 1], jnp.uint32), jnp.array([True])], {"half": jnp.array([1.5], jnp.bfloat16)})
    return State(params, jnp.int32(16777217), extra)


def host() -> dict[str, Any]:
    """State of environments and counters, as executors hand it over."""
    return {
        "random": np.random.PCG64(3).state,
        "returns": [math.inf, -math.inf, 0.1, -0.0],
        "clock": np.float32(0.1),
        "count": np.int64(2**62),
        "done": np.bool_(True),
        "name": "lsp/RllabAnt-v0",
        "nothing": None,
        "environments": [{"qpos": np.arange(3.0), "window": {"n": 2, "rows": np.ones((0, 4), np.float32)}}, {}],
        "$array": {"$float": "nan", "$$": 1.5, "": [{"$": np.arange(2.0)}], "$number": ["float32", 1.0]},
        "Geschw\u00f6rene \U0001f916 \ud800": 2.5,
    }


def shapes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


def same(left: Any, right: Any) -> bool:
    """Same structure, types and bits; NaN equals NaN."""
    if isinstance(left, np.ndarray | np.generic | jax.Array):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and repr(left) == repr(right)


def refused(call: Any, *parts: str) -> None:
    """`call` raises one line that holds all `parts`."""
    with pytest.raises(CheckpointError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert [part for part in parts if part not in message] == [], message


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Checkpoint 20, after an older one."""
    checkpoint.save(tmp_path, 10, {"learner": learner()}, {})
    return checkpoint.save(tmp_path, 20, {"learner": learner(), "replay": {"data": np.arange(64.0)}}, host())


def rewrite_manifest(path: Path, edit: Any) -> None:
    """Change the manifest as a faulty writer would, with a checksum that fits."""
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["crc32"]
    edit(manifest)
    crc32 = zlib.crc32(json.dumps(manifest, indent=1).encode())
    (path / "manifest.json").write_text(json.dumps({"crc32": crc32, **manifest}))


@pytest.mark.parametrize("mmap", [True, False])
def test_round_trip(saved: Path, mmap: bool) -> None:
    arrays, host_values = checkpoint.load(saved, mmap)
    restored = checkpoint.restore(shapes(learner()), arrays, "learner")
    assert jax.tree.structure(restored) == jax.tree.structure(learner())
    assert same(jax.tree.leaves(restored), jax.tree.leaves(learner()))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(restored))
    assert same(host_values, host())


def test_round_trip_of_a_bare_array_and_of_nothing(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 0, {"replay": np.uint32([7]), "learner": None}, {})
    arrays, host_values = checkpoint.load(path)
    assert same(checkpoint.restore(jnp.zeros(1, jnp.uint32), arrays, "replay"), np.uint32([7]))
    assert checkpoint.restore(None, arrays, "learner") is None
    assert host_values == {}


def test_random_generator_continues(saved: Path) -> None:
    resumed, reference = np.random.PCG64(), np.random.PCG64(3)
    resumed.state = checkpoint.load(saved)[1]["random"]
    assert np.random.Generator(resumed).random() == np.random.Generator(reference).random()


def test_host_arrays_can_be_written_to(saved: Path) -> None:
    checkpoint.load(saved)[1]["environments"][0]["qpos"][:] = 5.0
    assert same(checkpoint.load(saved)[1], host())


def test_donated_arrays_and_the_file_live_apart(tmp_path: Path) -> None:
    step = jax.jit(lambda data: data + 1.0, donate_argnums=0)
    data = jnp.arange(1024.0)
    path = checkpoint.save(tmp_path, 1, {"replay": data}, {})
    where = data.unsafe_buffer_pointer()
    assert step(data).unsafe_buffer_pointer() == where  # save kept no hold on the memory
    arrays, _ = checkpoint.load(path)
    restored = checkpoint.restore(jnp.zeros(1024), arrays, "replay")
    where = restored.unsafe_buffer_pointer()
    assert step(restored).unsafe_buffer_pointer() == where  # nor is it the file's
    assert same(checkpoint.load(path)[0]["replay"][""], np.arange(1024, dtype=np.float32))


def test_save_copies_no_big_array(tmp_path: Path) -> None:
    data = np.ones(2**24, np.float32)
    tracemalloc.start()
    try:
        checkpoint.save(tmp_path, 1, {"replay": data}, {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.75 * data.nbytes


@pytest.mark.parametrize("value", [{1: 2}, b"bytes", {"a": [object()]}, 1j, np.complex64(1)])
def test_host_values_that_would_not_come_back(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^host\['here'\].*neither JSON"):
        checkpoint.save(tmp_path, 1, {}, {"here": value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("group", ["host", "../up", "a/b", ""])
def test_group_names(tmp_path: Path, group: str) -> None:
    with pytest.raises(ValueError, match="group"):
        checkpoint.save(tmp_path, 1, {group: jnp.zeros(1)}, {})


# Damage


@pytest.mark.parametrize("position", [0, 9, 127, 128, -1])
def test_flipped_byte(saved: Path, position: int) -> None:
    file = saved / "replay/000.data.npy"
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)
    remedy = f"to resume from {saved.parent / '10'}, remove newer ones"
    refused(lambda: checkpoint.load(saved), str(file), "CRC-32", remedy)


def test_truncated_file(saved: Path) -> None:
    file = saved / "replay/000.data.npy"
    file.write_bytes(file.read_bytes()[:-100])
    refused(lambda: checkpoint.load(saved), str(file), "540 of 640 bytes", str(saved.parent / "10"))


@pytest.mark.parametrize("name", ["replay/000.data.npy", "host/000.environments.0.qpos.npy"])
def test_missing_file(saved: Path, name: str) -> None:
    (saved / name).unlink()
    refused(lambda: checkpoint.load(saved), name, "No such file", str(saved.parent / "10"))


def test_no_earlier_checkpoint(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 10, {"learner": jnp.zeros(1)}, {})
    (path / "learner/000.npy").unlink()
    refused(lambda: checkpoint.load(path), "there is no earlier checkpoint")


def test_a_file_with_other_contents_than_the_manifest_says(saved: Path) -> None:
    rewrite_manifest(saved, lambda manifest: manifest["groups"]["replay"][0].update(shape=[8, 8]))
    refused(lambda: checkpoint.load(saved), "000.data.npy", "float64[64] instead of float64[8, 8]")
    rewrite_manifest(saved, lambda manifest: manifest["groups"]["replay"][0].update(shape=[64], dtype="int64"))
    refused(lambda: checkpoint.load(saved), "000.data.npy", "float64[64] instead of int64[64]")


def test_other_format(saved: Path) -> None:
    rewrite_manifest(saved, lambda manifest: manifest.update(format=2))
    refused(lambda: checkpoint.load(saved), "manifest.json", "format 2", "reads 1")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format": 1}', "\x00\xff"])
def test_foreign_manifest(saved: Path, text: str) -> None:
    (saved / "manifest.json").write_text(text)
    refused(lambda: checkpoint.load(saved), "manifest.json: damaged checkpoint", str(saved.parent / "10"))


def test_any_flipped_byte_of_the_manifest(saved: Path) -> None:
    whole = (saved / "manifest.json").read_bytes()
    for position in range(0, len(whole), 11):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        (saved / "manifest.json").write_bytes(damaged)
        refused(lambda: checkpoint.load(saved), "manifest.json")


def test_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "77").mkdir()
    refused(lambda: checkpoint.load(tmp_path / "plots"), "plots: not a checkpoint")
    refused(lambda: checkpoint.load(tmp_path / "absent"), "absent: not a checkpoint")
    assert checkpoint.steps(tmp_path) == []


@pytest.mark.parametrize(
    ("template", "parts"),
    [
        (lambda tree: tree._replace(count=jnp.zeros(2, jnp.int32)), ("learner.count", "int32[]", "int32[2]")),
        (lambda tree: tree._replace(count=jnp.float32(0)), ("learner.count", "int32[]", "float32[]")),
        (lambda tree: tree._replace(count=None), ("learner.count", "int32[]", "no such leaf")),
        (lambda tree: tree._replace(count=(tree.count,)), ("learner.count[0]", "has no such leaf", "int32[]")),
        (lambda tree: {"other": tree}, ("learner['other'].params", "no such leaf")),
    ],
    ids=["shape", "dtype", "extra", "missing", "other tree"],
)
def test_restore_of_another_structure(saved: Path, template: Any, parts: tuple[str, ...]) -> None:
    arrays, _ = checkpoint.load(saved)
    refused(lambda: checkpoint.restore(template(learner()), arrays, "learner"), *parts)


# Which checkpoints there are


def test_saving_a_step_again_replaces_it(saved: Path) -> None:
    checkpoint.save(saved.parent, 20, {"learner": jnp.ones(1)}, {"again": True})
    arrays, host_values = checkpoint.load(saved)
    assert list(arrays) == ["learner"]
    assert host_values == {"again": True}
    assert sorted(path.name for path in saved.parent.iterdir()) == ["10", "20"]


def five(root: Path) -> None:
    for step in (100, 20, 9, 200, 150):
        checkpoint.save(root, step, {"learner": jnp.int32(step), "replay": np.zeros(9)}, {"step": step})


def test_steps_ascend_by_number_not_by_alphabet(tmp_path: Path) -> None:
    assert checkpoint.steps(tmp_path / "absent") == []
    five(tmp_path)
    (tmp_path / "999").mkdir()
    (tmp_path / ".300.partial").mkdir()
    assert checkpoint.steps(tmp_path) == [9, 20, 100, 150, 200]


def test_prune(tmp_path: Path) -> None:
    five(tmp_path)
    checkpoint.prune(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["150", "200"]
    checkpoint.prune(tmp_path, keep=2)
    assert checkpoint.steps(tmp_path) == [150, 200]
    with pytest.raises(ValueError, match="keep=0"):
        checkpoint.prune(tmp_path, keep=0)


def test_milestones_stay_without_replay(tmp_path: Path) -> None:
    five(tmp_path)
    checkpoint.prune(tmp_path, keep=1, milestone=100)
    assert checkpoint.steps(tmp_path) == [100, 200]
    assert not (tmp_path / "100/replay").exists()
    arrays, host_values = checkpoint.load(tmp_path / "100")
    assert host_values == {"step": 100}
    assert checkpoint.restore(jnp.int32(0), arrays, "learner") == 100
    refused(lambda: checkpoint.restore(jnp.zeros(9), arrays, "replay"), "replay", "dropped", "resume from the newest")
    refused(lambda: checkpoint.restore(jnp.zeros(9), arrays, "critic"), "critic", "never saved")
    assert checkpoint.load(tmp_path / "200")[0]["replay"][""].shape == (9,)


def test_prune_killed_before_it_removed_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    five(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.shutil, "rmtree", lambda *_, **__: None)
        checkpoint.prune(tmp_path, keep=1, milestone=100)
    assert checkpoint.load(tmp_path / "100")[0]["replay"] is None
    checkpoint.prune(tmp_path, keep=1, milestone=100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["100", "200"]
    assert not (tmp_path / "100/replay").exists()


def test_prune_leaves_a_damaged_milestone_to_its_reader(tmp_path: Path) -> None:
    five(tmp_path)
    (tmp_path / "100/manifest.json").write_text("{")
    checkpoint.prune(tmp_path, keep=1, milestone=100)
    refused(lambda: checkpoint.load(tmp_path / "100"), "damaged")


def test_some_of_the_host_s_values_can_be_peeked_at(tmp_path: Path) -> None:
    """Without a look at any array, so that a file that is gone does not matter."""
    told = {"due": ["metrics"], "left": 0, "rate": math.inf, "array": np.zeros(2)}
    path = checkpoint.save(tmp_path, 5, {"learner": learner()}, told)
    for file in path.rglob("*.npy"):
        file.unlink()
    assert checkpoint.peek(path, "due", "rate", "other") == {"due": ["metrics"], "rate": math.inf}
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        checkpoint.peek(tmp_path / "6", "due")
