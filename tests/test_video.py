"""Frames of the policy at the latents asked for; files that open again; one line where nothing can be drawn."""

import itertools
import subprocess
from pathlib import Path
from typing import Any

import gymnasium
import imageio.v2 as imageio
import numpy as np
import pytest
from gymnasium.spaces import Box
from imageio_ffmpeg import get_ffmpeg_exe

from lsp import video
from lsp.export import load_actor, to_numpy
from lsp.types import EnvSpec
from lsp.video import Walk
from tests.support.policies import untrained


class Painter(gymnasium.Env[np.ndarray, np.ndarray]):
    """Paints the action it got: its frames need no GL."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  # Gymnasium's own way
    observation_space, action_space = Box(-1, 1, (3,)), Box(-1, 1, (2,))

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode, self.steps, self.action = render_mode, 0, np.zeros(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(3), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps, self.action = self.steps + 1, action
        return np.zeros(3), 1.0, False, self.steps == 25, {}

    def render(self) -> Any:
        frame = np.full((41, 64, 3), np.round(127 + 120 * self.action[0]), np.uint8)
        frame[..., 2] = 4 * self.steps  # no frame like another: GIF merges those
        return frame


class Blind(Painter):
    """Cannot be drawn."""

    def render(self) -> Any:
        raise gymnasium.error.DependencyNotInstalled("pygame is not installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("runs") / "run", spec=EnvSpec(3, 2), env=f"{__name__}:Painter")


@pytest.fixture(autouse=True)
def _no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "choose_gl", lambda: None)


def take(moves: Any, count: int) -> np.ndarray:
    return np.stack(list(itertools.islice(moves, count)))


def test_latents() -> None:
    assert take(video.latents("sampled", None, 10, 2, 0), 500).std() == pytest.approx(1, abs=0.1)
    held = take(video.latents("fixed_latent", None, 10, 2, 0), 5)
    assert (held == held[0]).all()
    assert held.any()
    assert not take(video.latents("mode", None, 10, 2, 0), 5).any()
    walk = take(video.latents("mode", Walk(0, 1), 10, 3, 0), 41)
    assert not walk[:, [0, 2]].any()
    np.testing.assert_allclose(walk[[0, 10, 30, 40], 1], [0, 2, -2, 0], atol=1e-5)


def test_a_video(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """25 frames at 10 a second; what they show is the action at the latent, a step before."""
    assert video.main([str(run), "--protocol=mode"]) == 0
    out = capsys.readouterr().out
    assert out.count("25 steps, return 25.0") == 2
    gif = imageio.mimread(run / "videos" / "step_100_mode_s0.gif")
    assert (len(gif), gif[0].shape[:2]) == (25, (41, 64))
    action = to_numpy(load_actor(run)).squashed(np.zeros(3), np.zeros(2))
    expected = np.round(127 + 120 * action[0])
    np.testing.assert_allclose(gif[1][20, 20, 0], expected, atol=4)
    source = ["-i", str(run / "videos" / "step_100_mode_s0.mp4"), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run([get_ffmpeg_exe(), "-loglevel", "error", *source], capture_output=True, check=True).stdout
    mp4 = np.frombuffer(raw, np.uint8).reshape(25, 40, 64, 3)
    np.testing.assert_allclose(mp4[-1][20, 20, 0], expected, atol=10)


def test_a_latent_walk(run: Path) -> None:
    assert video.main([str(run), "--latent-walk=0:1", "--frames=12"]) == 0
    gif = imageio.mimread(run / "videos" / "step_100_layer_0_latent_1_s0.gif")
    assert len(gif) == 12
    orange = [np.flatnonzero((frame[-1, :, 0] > 200) & (frame[-1, :, 2] < 60)).mean() for frame in gif]
    assert np.argmax(orange) == 10
    assert orange[0] == pytest.approx(32, abs=2)


def test_mark() -> None:
    for position, column in ((-1.0, 0), (0.0, 50), (1.0, 99)):
        frame = np.zeros((80, 100, 3), np.uint8)
        video.mark(frame, position)
        assert (frame[-1, column] == (255, 160, 0)).all()
        assert not frame[:-4].any()


@pytest.mark.parametrize("walk", ["1:0", "0:2", "x", "0:", "-1:0"])
def test_walks_that_cannot_be(walk: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert video.main([str(run), f"--latent-walk={walk}"]) == 2
    assert (
        f"--latent-walk={walk}: must be LAYER:LATENT, layers 0 (bottom) to 0, latents 0 to 1" in capsys.readouterr().err
    )


def test_nothing_to_draw_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ant = untrained(tmp_path / "ant", spec=EnvSpec(125, 8), env="lsp/RllabAnt-v0")
    blind = untrained(tmp_path / "blind", spec=EnvSpec(3, 2), env=f"{__name__}:Blind")
    for run, part in ((ant, "neither EGL nor OSMesa works"), (blind, "pygame is not installed")):
        assert video.main([str(run)]) == 2
        err = capsys.readouterr().err
        assert part in err
        assert err.count("\n") == 1
        assert not (run / "videos").exists()


def test_gl_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    assert video.choose_gl() is None
    assert video.os.environ["MUJOCO_GL"] == "disabled"
    monkeypatch.setattr(video, "PROBE", "import os; assert os.environ['MUJOCO_GL'] == 'osmesa'")
    assert video.choose_gl() == "osmesa"


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(OSError, match="not written"):
        video.write([np.zeros((8, 8, 3), np.uint8)], tmp_path / "a", 10)
