"""A run's folder as an object: it says what the files say, and each misuse in one line."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lsp
from lsp import export
from lsp.storage import metrics
from tests.support.environments import Countdown
from tests.support.folders import write_run
from tests.support.policies import untrained

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "runs" / "published" / "headline_s1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("runs") / "run", env_kwargs='{"max_episode_steps": 5}')


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """Two seeds, one of which failed."""
    root = tmp_path_factory.mktemp("runs") / "seeds"
    for seed in (3, 10):
        shutil.copytree(folder, root / f"seed_{seed}")
        path = root / f"seed_{seed}" / "config.json"
        document = json.loads(path.read_text())
        document["config"]["seed"] = seed
        path.write_text(json.dumps(document | ({"failed": "fell over"} if seed == 10 else {})))
    return root


def test_what_is_written(tmp_path: Path) -> None:
    run = lsp.load(write_run(tmp_path / "run", [5.0, 7.0], protocols=("sampled", "mode"), env="Pendulum-v1", seed=4))
    assert (run.config.env, run.step, run.finished, run.failed) == ("Pendulum-v1", 0, False, None)
    assert list(run.seeds) == [4]
    assert run.seeds[4] is run
    np.testing.assert_array_equal(run.metrics()["step"], [1000, 2000])
    np.testing.assert_array_equal(run.evaluations()["step"], [1000, 1000, 2000, 2000])
    mode = run.evaluations("mode")
    np.testing.assert_array_equal(mode["return"], [50, 70])
    np.testing.assert_array_equal(mode["returns"], [[49, 51], [69, 71]])
    assert repr(run).splitlines() == [
        f"Run({str(tmp_path / 'run')!r})",
        "  sac_lsp on Pendulum-v1, preset modern, seed 4: stands at step 0 of 2,000",
        "  step 2,000: sampled policy returns 7 ± 1 over 2 episodes",
        "  step 2,000: mode policy returns 70 ± 1 over 2 episodes",
    ]


def test_nothing_written_yet(folder: Path) -> None:
    assert lsp.load(folder).metrics() == lsp.load(folder).evaluations() == {}
    assert lsp.load(str(folder)).step == 100


def test_the_working_folder_may_change(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    run = lsp.load("run")
    assert repr(run).startswith("Run('run')")
    monkeypatch.chdir(tmp_path)
    assert run.step == 100
    assert run.policy.step == 100


def test_export(folder: Path, tmp_path: Path) -> None:
    run = lsp.load(folder)
    assert run.export(tmp_path / "out") == tmp_path / "out"
    exported = lsp.load(tmp_path / "out")
    np.testing.assert_array_equal(exported.policy.act(np.ones(3)), run.policy.act(np.ones(3)))
    assert (exported.step, exported.finished) == (100, True)
    with pytest.raises(lsp.ConfigError, match="is exported already"):
        exported.export()
    with pytest.raises(lsp.ConfigError, match="cannot be resumed: it has an exported policy"):
        exported.resume()


def test_video_is_asked_for_as_on_the_command_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lsp import video

    def film(options: Any) -> list[Path]:
        return [options.run, *[vars(options)[name] for name in ("protocol", "seed", "frames", "latent_walk")]]

    monkeypatch.setattr(video, "film", lambda options: [film(options)])
    run = lsp.load(folder)
    assert run.video() == [folder, "sampled", "0", "500", None]
    assert run.video("mode", seed=3, frames=9, latent_walk="0:0") == [folder, "mode", "3", "9", "0:0"]
    with pytest.raises(lsp.ConfigError, match="invalid choice: 'mod'"):
        run.video("mod")


def test_several_seeds(several: Path) -> None:
    run = lsp.load(several)
    assert list(run.seeds) == [3, 10]
    assert run.seeds[10].failed == "fell over"
    assert run.seeds[3].policy.step == run.step == 100
    assert repr(run).endswith("seeds 3, 10: stands at step 100 of 1,000,000")
    for ask in (run.metrics, run.evaluations, run.evaluate, run.video, run.export, lambda: run.policy):
        with pytest.raises(lsp.ConfigError, match=r"^.*seeds holds 2 seeds: choose one, such as .seeds\[3\]$"):
            ask()


def test_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an earlier version, and without checkpoints."""
    monkeypatch.chdir(ROOT)
    run = lsp.load(PUBLISHED.relative_to(ROOT))
    assert run.finished
    assert run.policy.act(np.zeros((2, 125))).shape == (2, 8)
    assert run.evaluations("mode")["terminated"].dtype == np.bool_
    assert "finished at step 2,400," in repr(run).splitlines()[1]
    with pytest.raises(lsp.ConfigError, match=r"^runs/published/headline_s1 cannot be resumed: "):
        run.resume()


@pytest.mark.parametrize("name", ["none", "empty", "file"])
def test_what_is_no_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(lsp.ConfigError, match=f"^.*{name} is not a run: "):
        lsp.load(tmp_path / name)


def test_a_folder_that_is_gone_says_so(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run")
    run = lsp.load(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    assert "is not a run: there is no such folder" in repr(run)


def test_an_environment_is_given_again(tmp_path: Path, folder: Path) -> None:
    spec = lsp.EnvSpec(observation_dim=1, action_dim=1)
    own = untrained(tmp_path / "own", spec=spec, env="given:Countdown")
    for ask in (lambda: lsp.load(own).policy, lsp.load(own).evaluate, lsp.load(own).export):
        with pytest.raises(lsp.ConfigError, match=r"^environment given:Countdown was a Python object"):
            ask()
    assert lsp.load(own, env=lambda: Countdown()).policy.act([0.0]).shape == (1,)
    run = lsp.load(own, env=Countdown())  # whose episodes take turns: one ends after 3 steps, the next after 5
    np.testing.assert_array_equal(run.evaluate(2).lengths, [3, 5])
    assert export.exported_folder(own) is None
    with pytest.raises(lsp.ConfigError, match="was trained on a Python object; give that again"):
        lsp.load(own, env="Pendulum-v1")
    with pytest.raises(lsp.ConfigError, match=r"env=given:Countdown: that of .*run is Pendulum-v1, and need not"):
        lsp.load(folder, env=Countdown)


def test_it_is_read_while_it_grows(tmp_path: Path) -> None:
    run = lsp.load(write_run(tmp_path / "run", [5.0]))
    assert run.metrics().rows == 1
    lines = metrics.JsonLines(run.folder / "metrics.jsonl")
    lines.write({"step": 2_000})
    lines.close()
    assert run.metrics().rows == 2
