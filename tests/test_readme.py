"""What README tells to type works as it stands: commands are understood, snippets run."""

import re
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest

from lsp import cli, export
from lsp.export import load_policy
from lsp.storage import layer_files
from tests.support.policies import untrained

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
ONE_LINE = re.sub(r"\\\n\s*", "", TEXT)
COMMANDS = {found.strip() for found in re.findall(r"python -m lsp\.run((?: (?!#)(?:'[^']*'|[^`'\n ])+)+)", ONE_LINE)}


def snippet(word: str) -> str:
    (found,) = [each for each in SNIPPETS if word in each]
    return found


@pytest.mark.parametrize("line", sorted(COMMANDS))
def test_commands_are_understood(line: str) -> None:
    if "--help" in line:
        with pytest.raises(SystemExit):
            cli.parse(shlex.split(line))
    else:
        cli.parse(shlex.split(line))


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 30
    assert any(line.endswith("--utd=0.125") for line in COMMANDS)
    assert len(SNIPPETS) == 3


@pytest.mark.slow
def test_an_update_composed_by_hand() -> None:
    names: dict[str, object] = {}
    exec(snippet("jax.jit(agent.update)"), names)
    assert np.shape(names["action"]) == (1,)


def test_a_layer_as_an_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = untrained(tmp_path / "runs" / "NAME", layers=2)
    for depth, layer in enumerate(export.load_actor(run).layers):
        layer_files.save(run, depth, layer)
    names: dict[str, object] = {}
    exec(snippet("make_latent_env").replace("lsp/RllabAnt-v0", "Pendulum-v1"), names)
    assert names["env"].action_space.shape == (1,)


def test_a_policy_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the exported folder, with each kind of key that it is said to take; and with lsp."""
    pytest.importorskip("flatbuffers", reason="jax.export writes with it")
    run = untrained(tmp_path / "runs" / "NAME")
    assert export.main([str(run)]) == 0
    monkeypatch.chdir(run / "policy")
    monkeypatch.syspath_prepend(str(run / "policy"))
    with_lsp = load_policy(run)
    for key in (np.random.default_rng(0), 7, jax.random.key(3), jax.random.PRNGKey(3)):
        names: dict[str, object] = {"observation": np.zeros(3), "key": key}
        names |= {"observations": np.zeros((2, 3), np.float32), "latents": np.zeros((2, 1), np.float32)}
        exec(snippet("numpy_policy"), names)
        assert np.shape(names["action"]) == (1,)
        assert np.shape(names["actions"]) == (2, 1)
        assert with_lsp(np.zeros(3), key).shape == (1,)
