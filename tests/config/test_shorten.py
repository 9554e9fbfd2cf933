"""Runs shortened for tests still run: every agent, and whatever a document may ask for."""

import dataclasses

import pytest

from lsp import cli
from lsp.agents import AGENTS, presets
from lsp.config import Config, ConfigError, validate
from lsp.config.shorten import VARIABLE, for_tests, shorten

LAYERED = dataclasses.replace(Config(), layers=3, layer_steps=(0, 300_000, 200_000), steps=500_000)


@pytest.mark.parametrize("preset", ["modern", "dissertation"])
@pytest.mark.parametrize("agent", sorted(AGENTS))
@pytest.mark.parametrize("limit", [1, 200])
def test_every_agent_stays_valid(agent: str, preset: str, limit: int) -> None:
    short = shorten(presets(agent, preset), limit)
    assert validate(short) == short
    assert short.steps == limit
    if limit == 200:
        assert short.learning_starts < short.steps / 2, "it learns"
        assert short.warmup_steps <= short.learning_starts
        assert 0 < short.evaluation.every <= 100
        assert short.replay.capacity >= 2 * limit, "a resumed run, which is twice as long, fits"


def test_what_is_short_or_off_stays() -> None:
    own = dataclasses.replace(Config(), steps=50, log_every=3)
    own = dataclasses.replace(own, evaluation=dataclasses.replace(own.evaluation, every=0))
    short = shorten(own, 200)
    assert (short.steps, short.log_every, short.evaluation.every) == (50, 3, 0)
    assert short.agent == own.agent
    assert short.flow == own.flow
    assert shorten(short, 200) == short


def test_layers_keep_their_shares() -> None:
    short = shorten(LAYERED, 200)
    assert short.layer_steps == (0, 120, 80)
    assert validate(short).steps == 200
    assert validate(shorten(dataclasses.replace(Config(), layers=3, steps=900_000), 200)).layer_steps == (66, 66, 68)


def test_as_the_environment_asks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert for_tests(LAYERED) is LAYERED
    monkeypatch.setenv(VARIABLE, "200")
    assert for_tests(LAYERED) == shorten(LAYERED, 200)
    assert capsys.readouterr().err.splitlines() == [
        "lsp: note: LSP_TEST_STEPS=200: shortened for tests, to at most 200 steps"
    ]


@pytest.mark.parametrize("text", ["0", "-3", "many", "1.5"])
def test_no_number_of_steps(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ConfigError, match=f"LSP_TEST_STEPS={text}: must be a whole number above 0, or not set"):
        for_tests(LAYERED)


def test_the_command_line_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run, and by more steps what continues it; bad values are still refused."""
    monkeypatch.setenv(VARIABLE, "200")
    assert cli.parse(["--steps=20_000"]).config.steps == 200
    given = cli.parse(["--resume=runs/NAME", "--layers=2", "--layer-steps=300_000,200_000"]).given
    assert given == {"layers": 2, "layer_steps": (240, 160), "steps": 400}
    with pytest.raises(ConfigError, match="add up to --steps=20000"):
        cli.parse(["--steps=20_000", "--layers=2", "--layer-steps=1_000,1_000"])
