"""What a run says of itself, without a run: lines of a configuration, sizes and folders."""

import json
from pathlib import Path
from typing import Any

import pytest

from lsp import presets
from lsp.config import Config, from_dict, to_dict, validate
from lsp.storage import run_folder
from lsp.training import announce
from lsp.training.announce import Subject
from lsp.types import EnvSpec, GoalTask

ANT = EnvSpec(observation_dim=125, action_dim=8)
GOALS = GoalTask(2, lambda *goals: goals, lambda *goals: goals)


def config_of(**changes: Any) -> Config:
    """The headline agent's, changed; fields of sections as `section__field`."""
    values = to_dict(presets("distributed_prioritized"))
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    assert changed.keys() <= values.keys()
    return validate(from_dict(values | changed))


def test_header() -> None:
    config = config_of(executors__count=4, warmup_steps=5_000, learning_starts=5_000, utd=1, block=8)
    assert announce.header(Subject(config, ANT, "runs/x"), 1_040_000_000) == [
        "agent        distributed_prioritized, preset modern, seed 0",
        "environment  lsp/RllabAnt-v0 x 4: 125 observations, 8 actions",
        "training     1,000,000 environment steps, 994,976 updates",
        "replay       1,000,000 transitions, 1.04 GB",
        "folder       runs/x",
        "expect       learning from step 5,000, evaluation every 50,000; Ctrl-C saves",
    ]


def test_header_of_layers_and_seeds() -> None:
    config = config_of(
        steps=300_000,
        layers=2,
        layer_steps=[100_000, 200_000],
        executors__count=1,
        block=1,
        utd=0.25,
        evaluation__every=0,
        warmup_steps=1_000,
        growth__critic_warmup=700,
        learning_starts=5_000,
    )
    assert announce.header(Subject(config, ANT, "runs/x", (3, 4, 5)), 5_000_000)[:5] == [
        "agent        distributed_prioritized, preset modern, 3 seeds (3 to 5)",
        "environment  lsp/RllabAnt-v0: 125 observations, 8 actions",
        "training     300,000 environment steps, 74,450 updates (0.25 a step), per seed",
        "layers       2, of 100,000 and 200,000 steps",
        "replay       1,000,000 transitions, 5.00 MB, per seed",
    ]
    assert announce.header(Subject(config, ANT, "runs/x"), 1)[-1].endswith("step 5,000, no evaluation; Ctrl-C saves")


@pytest.mark.parametrize(
    ("changes", "spec", "said"),
    [
        ({"executors__engine": "process", "executors__count": 4}, ANT, "lsp/RllabAnt-v0 x 4 (process): 125"),
        ({}, EnvSpec(20, 3, GOALS), "20 observations (2 of them a goal), 3 actions"),
        ({"from_layers": "runs/skill"}, ANT, "layers       1, on those of runs/skill"),
        ({"from_layers": "runs/skill", "layers": 3}, ANT, "333,333, 333,333 and 333,334 steps, on those of runs/skill"),
    ],
)
def test_what_else_a_header_says(changes: dict[str, Any], spec: EnvSpec, said: str) -> None:
    lines = announce.header(Subject(config_of(**changes), spec, "runs/x"), 1)
    assert said in " ".join(" ".join(lines).split()) or any(said in line for line in lines)
    assert max(map(len, lines)) <= announce.WIDTH


def test_long_words_are_left_whole() -> None:
    """A folder must be pasted as it stands."""
    folder = "/" + "x" * 200
    assert f"folder       {folder}" in announce.header(Subject(config_of(), ANT, folder), 1)


def test_resumed() -> None:
    config = config_of(executors__count=1)
    subject = Subject(config, ANT, "runs/x")
    first, *rest = announce.resumed(subject, 500_000, 495_000)
    assert first == "resuming at step 500,000 of 1,000,000, after 495,000 updates"
    assert [line.split()[0] for line in rest] == ["agent", "environment", "folder"]
    first, *_ = announce.resumed(subject._replace(seeds=(7, 9)), 5, 0)
    assert first == "resuming 2 seeds at step 5 of 1,000,000, after 0 updates"


def test_notes_are_aligned_and_broken() -> None:
    lines = announce.notes(["short", "word " * 30])
    assert lines[0] == "note         short"
    assert lines[1].startswith("note         word word")
    assert lines[2].startswith("             word word")
    assert max(map(len, lines)) <= announce.WIDTH


def test_a_run_that_cannot_learn_is_noted() -> None:
    assert announce.about(config_of(steps=5_001, learning_starts=5_000)) == []
    (line,) = announce.about(config_of(steps=5_000, learning_starts=5_000))
    assert line == "--steps=5000 ends before --learning-starts=5000: no learning"


def test_finished() -> None:
    assert announce.finished(config_of(steps=4_000, learning_starts=2_000), "my runs/x", 4_000) == [
        "my runs/x is finished, at step 4,000 of 4,000; to go further:",
        "  python -m lsp.run --resume='my runs/x' --steps=8000",
    ]


def naive_updates(config: Config) -> int:
    """Step by step: every executor steps, and a full block earns what `--utd` allows."""
    dispatch = announce.updates_per_dispatch(config)
    per_block, starts = config.block * config.executors.count, config.learning_starts
    updates = uncounted = stage = 0
    ends = [sum(config.layer_steps[: i + 1]) for i in range(config.layers)] if config.layers > 1 else [config.steps]
    for step in range(per_block, config.steps + 1, per_block):
        if int(config.utd * max(0, step - starts)) - (updates - uncounted) >= dispatch:
            updates += dispatch
        if step >= ends[stage] and stage + 1 < config.layers:
            stage += 1
            if config.growth.keep_replay:
                updates, uncounted = updates + config.growth.critic_warmup, uncounted + config.growth.critic_warmup
            else:
                starts, uncounted = step + config.learning_starts, updates
    return updates


@pytest.mark.parametrize("utd", [1, 0.25, 0.3, 3])
@pytest.mark.parametrize("layers", [(2_000,), (800, 1_200)])
@pytest.mark.parametrize("keep", [True, False])
def test_updates_are_those_of_a_run(utd: float, layers: tuple[int, ...], keep: bool) -> None:
    config = config_of(
        utd=utd,
        block=4,
        steps=2_000,
        learning_starts=400,
        executors__count=2,
        layers=len(layers),
        layer_steps=list(layers) if len(layers) > 1 else [0],
        growth__keep_replay=keep,
        growth__critic_warmup=50,
    )
    assert abs(announce.updates_of(config) - naive_updates(config)) <= announce.updates_per_dispatch(config)


def test_a_run_that_cannot_learn_makes_no_updates() -> None:
    config = config_of(steps=2_000, layers=2, layer_steps=[1_000, 1_000], learning_starts=5_000)
    assert announce.updates_of(config) == 0


def write_run(folder: Path, seconds: float, returns: list[float]) -> None:
    folder.mkdir(parents=True)
    run_folder.write_document(folder, {"config": to_dict(config_of()), "seconds": seconds})
    records = [
        {"step": step, "protocol": protocol, "return": 2.0 * step, "returns": returns}
        for step in (100, 200)
        for protocol in ("sampled", "mode")
    ]
    (folder / "eval.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_ending_of_a_run(tmp_path: Path) -> None:
    write_run(tmp_path / "x", 700.0, [3.0, 5.0])
    assert announce.ending(tmp_path / "x", Path("my runs/x")) == [
        "  last evaluation, step 200: sampled policy returns 4 ± 1 over 2 episodes",
        "  last evaluation, step 200: mode policy returns 4 ± 1 over 2 episodes",
        "  it took 12 min",
        "  next:",
        "    python -m lsp.report 'my runs/x'  # its numbers and curves",
        "    python -m lsp.video 'my runs/x'   # a film of the policy",
        "    python -m lsp.export 'my runs/x'  # the policy alone, for NumPy",
    ]


def test_ending_of_seeds(tmp_path: Path) -> None:
    """What takes one run is shown with the first one; of an evaluation each seed gives its mean."""
    for seed in (10, 9):
        write_run(tmp_path / f"seed_{seed}", 60.0 + seed, [1.0])
    lines = announce.ending(tmp_path, Path("runs/x"))
    assert lines[0] == "  last evaluation, step 200: sampled policy returns 400 ± 0 over 2 seeds"
    assert lines[2:] == [
        "  it took 70 s",
        "  next:",
        "    python -m lsp.report runs/x         # its numbers and curves",
        "    python -m lsp.video runs/x/seed_9   # a film of the policy",
        "    python -m lsp.export runs/x/seed_9  # the policy alone, for NumPy",
    ]


def test_ending_of_what_has_no_records(tmp_path: Path) -> None:
    assert announce.ending(tmp_path / "none", Path("x"))[0] == "  next:"


def test_folders_are_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert announce.typed(tmp_path / "runs" / "x") == "runs/x"
    assert announce.typed(tmp_path.parent / "x") == str(tmp_path.parent / "x")
