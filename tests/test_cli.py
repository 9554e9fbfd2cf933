"""The command line, read."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lsp import cli
from lsp.agents import presets
from lsp.config import Config, ConfigError, schema

ROOT = Path(__file__).parents[1]
HELP_WITHOUT_DEVICE = """
import sys, time
from lsp import cli
try:
    cli.parse(["--help"])
except SystemExit as end:
    assert not end.code
assert {"jax", "flax", "gymnasium", "mujoco", "distrax", "numpy"}.isdisjoint(sys.modules), "heavy imports"
assert time.process_time() < 2, time.process_time()  # of this processor, whatever else runs; it takes 0.3 s
"""


def test_nothing_said_is_the_modern_base_agent() -> None:
    command = cli.parse([])
    assert command == cli.Command(cli.RunOptions(), presets("sac_lsp", "modern"), {})


def test_flags_go_over_the_preset() -> None:
    command = cli.parse(["--reward-scale=3", "--agent=sac_lsp", "--preset", "dissertation", "--name=x", "--seed=4"])
    assert (command.config.reward_scale, command.config.seed, command.options.name) == (3.0, 4, "x")
    assert command.config.critic == presets("sac_lsp", "dissertation").critic
    assert command.given == {"reward_scale": 3.0, "agent": "sac_lsp", "preset": "dissertation", "seed": 4}


@pytest.mark.parametrize(
    ("spellings", "name", "value"),
    [
        (["--steps=1_000_000", "--steps 1000000", "--steps=5 --steps=1000000"], "steps", 1_000_000),
        (["--steps=1e6", "--steps=1M", "--steps=1000k", "--steps=1.0m"], "steps", 1_000_000),
        (["--layers=2 --layer-steps=300k,2e5", "--layers=2 --layer-steps 0.3M 200_000"], "steps", 500_000),
        (["--replay.batch-size=64", "--replay.batch_size=64", "--replay.batch_size 64"], "replay.batch_size", 64),
        (["--critic.hidden-sizes=256,16", "--critic.hidden_sizes 256 16"], "critic.hidden_sizes", (256, 16)),
        (["--evaluation.protocols=mode,sampled"], "evaluation.protocols", ("mode", "sampled")),
        (["--flow.max-log-scale=inf"], "flow.max_log_scale", float("inf")),
        (["--temperature.target-entropy-per-dim -1.5"], "temperature.target_entropy_per_dim", -1.5),
        (["--normalize.rewards", "--normalize.rewards=true", "--normalize.rewards True"], "normalize.rewards", True),
        (["--critic.layer-norm=false", "--no-critic.layer-norm", "--critic.no-layer-norm"], "critic.layer_norm", False),
        (['--env-kwargs={"a=b":"--c"}'], "env_kwargs", '{"a=b":"--c"}'),
    ],
)
def test_spellings(spellings: list[str], name: str, value: Any) -> None:
    for spelling in spellings:
        assert schema.flatten(cli.parse(spelling.split()).config)[name] == value, spelling


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--agent=sac_lps", "--agent=sac_lps: must be .*; did you mean sac_lsp"),
        ("--preset=paper", "--preset=paper: must be modern or dissertation$"),
        ("--polcy.q=min", "unknown flag --polcy.q: did you mean --policy.q[?]$"),
        ("--tau=1", "unknown flag --tau: did you mean --critic.tau"),
        ("--learning-rate=1", "did you mean --critic.learning-rate, --policy.learning-rate or --temperature"),
        ("--zzz", "unknown flag --zzz: see --help"),
        ("--no-steps", "unknown flag --no-steps: did you mean --n-step"),
        ("--", "unknown flag --: see --help"),
        ("--policy.q=maen", "--policy.q=maen: must be min, mean or first; did you mean mean"),
        ("--evaluation.protocols=mode,fixed-latent", "did you mean fixed_latent"),
        ("--gamma=nan", "--gamma=nan: must be a number in"),
        ("--steps=0", "--steps=0: must be a whole number from 1"),
        ("--steps=many", "--steps=many: must be a whole number from 1"),
        ("--steps", "--steps needs a value"),
        ("--steps=", "--steps=: must be a whole number"),
        ("--steps 5 6", "unexpected '6' after --steps=5"),
        ("--no-critic.layer-norm=true", "unexpected 'true' after --critic.layer-norm=false"),
        ("--steps=1.5", "--steps=1.5: must be a whole number from 1"),
        ("--steps=1,000,000", "from 1 to 2147483647; write it without commas$"),
        ("--total-timesteps=1e5", "unknown flag --total-timesteps: here it is --steps$"),
        ("--optim.tau=1", "unknown flag --optim.tau: did you mean --critic.tau[?]$"),
        ("--track", "--track needs a value: tensorboard, .*; see --help$"),
        ("--env", "--env needs a value; see --help$"),
        ("steps=5", "unexpected 'steps=5': flags begin with --: did you mean --steps=5[?]$"),
        ("+critic.layer-norm=no", "did you mean --critic.layer-norm=no[?]$"),
        ("critic.lr=3", "flags begin with --; and --critic.lr: here it is --critic.learning-rate$"),
        ("sac_lsp", "unexpected 'sac_lsp': did you mean --agent=sac_lsp[?]$"),
        ("--seed=1 Ant-v5", "unexpected 'Ant-v5' after --seed=1: did you mean --env=Ant-v5[?]$"),
        ("train", "unexpected 'train': flags begin with --; see --help$"),
        ("-s 5", "unexpected '-s': flags begin with -- and have whole names, such as --seed=3; see --help$"),
        ("--seed=1 -s", "unexpected '-s' after --seed=1: flags begin with -- and have whole names"),
        ("--dry-run=maybe", "--dry-run=maybe: must be true or false"),
        ("--replay.capacity=127", "--replay.capacity=127: must be at least --replay.batch-size=128"),
        ("--policy.gradient=likelihood_ratio", "must be pathwise, or add --critic.value-network"),
        ("--resume=", "--resume is empty"),
        ("--resume=a --name=b", "--name cannot go with --resume"),
        ("--resume=a --dry-run", "--dry-run cannot go with --resume"),
    ],
)
def test_refusals(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        cli.parse(line.split())
    assert "\n" not in str(caught.value)


def test_a_resumed_run_is_not_held_to_the_preset() -> None:
    command = cli.parse(["--resume=runs/x", "--steps=2_000", "--replay.capacity=5"])
    assert command.options.resume == "runs/x"
    assert command.given == {"steps": 2_000, "replay.capacity": 5}


@pytest.fixture(autouse=True)
def narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def help_page(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The help page on one line, without its frames."""
    with pytest.raises(SystemExit) as end:
        cli.parse([*arguments, "--help"])
    assert not end.value.code
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_help_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    page = help_page(capsys)
    for name in schema.kinds(cli.RunOptions) | schema.kinds(Config):
        assert f" {schema.flag(name)} " in page
    assert page.count("(default: ") == len(schema.kinds(cli.RunOptions) | schema.kinds(Config))
    assert "--critic.hidden-sizes INT,... Units of each hidden layer. (default: 128,128)" in page
    assert "--policy.q {min,mean,first}" in page
    assert "--critic.layer-norm {true,false} LayerNorm before every ReLU. (default: true)" in page


def test_help_shows_the_values_of_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    modern, study = help_page(capsys), help_page(capsys, "--preset=dissertation")
    assert "--reward-scale FLOAT Factor on rewards, applied when sampling. (default: 1.0)" in modern
    assert "--reward-scale FLOAT Factor on rewards, applied when sampling. (default: 10.0)" in study
    assert "Defaults shown are those of --agent=sac_lsp --preset=dissertation." in study


@pytest.mark.parametrize("columns", [60, 90, 200])
def test_help_is_as_wide_as_the_terminal(columns: int, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Up to 120 columns; only flags and their choices are never broken."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        cli.parse(["--help"])
    texts = [line for line in capsys.readouterr().out.splitlines() if not line.lstrip().startswith("--")]
    assert min(columns, 120) - 20 < max(map(len, texts)) <= min(columns, 120)


def test_help_needs_no_device_and_no_time() -> None:
    script = [sys.executable, "-c", HELP_WITHOUT_DEVICE]
    result = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("flags", "seeds"),
    [
        ([], []),
        (["--seeds=3"], [0, 1, 2]),
        (["--seeds=1k"], range(1000)),
        (["--seeds=3", "--seed=5"], [5, 6, 7]),
        (["--seeds=2:5"], [2, 3, 4]),
        (["--seeds", "4,1,9"], [4, 1, 9]),
    ],
)
def test_seeds(flags: list[str], seeds: Sequence[int]) -> None:
    assert list(cli.parse(flags).seeds) == list(seeds)


@pytest.mark.parametrize("text", ["0", "-1", "x", "3,3", "4:2", "1:2:3", "1:3,5", "0:", "-1,3"])
def test_seeds_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--seeds={text}: must be a count such as 8"):
        cli.parse([f"--seeds={text}"])
