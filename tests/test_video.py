"""Frames of the policy at the latents asked for; files that open again; one line where nothing can be drawn."""

import itertools
import math
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
from lsp.config import Config, ConfigError
from lsp.export import load_actor, to_numpy
from lsp.numpy_policy import NumpyPolicy
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


class Dark(Painter):
    """Draws nothing, whatever it is asked for."""

    def render(self) -> Any:
        return None


class Unasked(Painter):
    """Knows of no render_mode, and draws all the same: into one array, again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.canvas = np.zeros((6, 8), np.uint8)

    def render(self) -> Any:
        self.canvas[:] = 10 * self.steps
        return self.canvas


class Undrawable(Painter):
    """Knows neither of render_mode nor of rendering."""

    def __init__(self) -> None:
        super().__init__()

    render = gymnasium.Env.render  # type: ignore[assignment]


class Former(Painter):
    """Of the interface before Gymnasium's, in which render is told the mode."""

    def __init__(self) -> None:
        super().__init__()

    def render(self, mode: str = "human") -> Any:
        return super().render() if mode == "rgb_array" else None


class Lists(Painter):
    """Hands over the frames since the last time, two a step, in its own mode only."""

    metadata = {"render_modes": ["rgb_array_list"], "render_fps": "fast"}  # noqa: RUF012

    def render(self) -> Any:
        return [super().render()] * 2 if self.render_mode == "rgb_array_list" else None


class Silent(Lists):
    """Never hands over any."""

    def render(self) -> Any:
        return []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("runs") / "run", spec=EnvSpec(3, 2), env=f"{__name__}:Painter")


@pytest.fixture(scope="module")
def policy(run: Path) -> NumpyPolicy:
    return to_numpy(load_actor(run))


def config_of(name: str, **fields: Any) -> Config:
    return Config(env=f"{__name__}:{name}", **fields)


def film(name: str, policy: NumpyPolicy) -> tuple[list[np.ndarray], float]:
    """Four steps of an environment of this file."""
    return video.record(video.make_env(config_of(name)), policy, video.latents("mode", None, 10, 2, 0), None, 4, 0)


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
    assert out.count("25 frames, return 25.0") == 2
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


def test_a_walk_says_which_latent_and_where_it_is(run: Path, policy: NumpyPolicy) -> None:
    """Two walks at the same place differ in what is written at the top, a walk at two places as well."""
    shown = {}
    for walk in (Walk(0, 0), Walk(0, 1)):
        env = video.make_env(config_of("Painter"))
        shown[walk], _ = video.record(env, policy, video.latents("mode", walk, 10, 2, 0), walk, 4, 0)
    first, second = shown.values()
    np.testing.assert_array_equal(first[0][20:], second[0][20:])
    assert (first[0][:16] != second[0][:16]).any()
    assert str(Walk(0, 1)) == "layer 0, latent 1"


def test_caption() -> None:
    """Within its box, light on dark; another text, other pixels; nothing below."""
    frames = [np.full((240, 320, 3), 128, np.uint8) for _ in range(2)]
    for frame, text in zip(frames, ("latent 3: +1.0", "latent 3: -1.0"), strict=True):
        video.caption(frame, text)
        assert (frame[0, 0] == 30).all()
        assert frame[:20].max() > 240
        assert (frame[30:] == 128).all()
    assert (frames[0] != frames[1]).any()


def test_a_gif_shrinks_until_it_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rng: np.random.Generator) -> None:
    """Noise, the worst that there is."""
    noise = [rng.integers(0, 256, (320, 320, 3), np.uint8) for _ in range(30)]
    sizes = []
    for limit in (10**9, 600_000):
        monkeypatch.setattr(video, "MAX_GIF_BYTES", limit)
        _, gif = video.write(noise, tmp_path / str(limit), 30)
        sizes.append(imageio.mimread(gif)[0].shape[0])
        assert gif.stat().st_size <= limit
    assert sizes[0] == 320
    assert sizes[1] < 320


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


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Dark", "its render() returned None; made with render_mode='rgb_array', it must return pictures"),
        ("Undrawable", "it has no render(); made with render_mode='rgb_array', it must return pictures"),
        ("Silent", "its render() returned no picture in the whole episode"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(name: str, reason: str, policy: NumpyPolicy) -> None:
    with pytest.raises(ConfigError) as caught:
        film(name, policy)
    assert str(caught.value).startswith(f"environment {__name__}:{name} cannot be drawn: {reason}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "frames", "blues"), [("Unasked", 4, [0, 30]), ("Former", 4, [0, 12]), ("Lists", 8, [0, 12])]
)
def test_what_draws_in_its_own_way_is_filmed(name: str, frames: int, blues: list[int], policy: NumpyPolicy) -> None:
    shown, total = film(name, policy)
    assert (len(shown), total) == (frames, 4.0)
    assert [shown[i][0, 0, 2] for i in (0, -1)] == blues


def test_what_is_wrong_with_an_environment_is_said_rather_than_what_was_tried() -> None:
    with pytest.raises(ConfigError, match="unexpected keyword argument 'wheels'"):
        video.make_env(config_of("Painter", env_kwargs='{"wheels": 3}'))


def test_frames_per_second() -> None:
    for fps, expected in ((24, 24.0), ("12.5", 12.5), (None, 30), ("fast", 30), (0, 30), (-3, 30), (math.nan, 30)):
        env = video.make_env(config_of("Painter"))
        env.metadata = {"render_fps": fps}
        assert video.frames_per_second(env) == expected


GRAY = np.full((4, 6), 128, np.uint8)
RGB = np.repeat(GRAY[..., None], 3, axis=-1)
HALF = np.full((4, 6, 3), 0.5)


@pytest.mark.parametrize(
    "drawn",
    [
        RGB, RGB.astype(np.int64), RGB.astype(np.float32), RGB.astype(np.float16), HALF, HALF.astype(np.float32),
        GRAY, GRAY[..., None], GRAY[None], RGB.tolist(), [RGB], (HALF,), RGB[None], HALF[..., 0],
        np.full((4, 6, 4), 128, np.uint8), np.full((4, 6, 4), 0.5), np.full((4, 6, 2), 128, np.uint8),
        np.full((3, 40, 60), 128, np.uint8), np.full((4, 40, 60), 0.5), HALF.tolist(),
    ],
)  # fmt: skip
def test_a_gray_picture_is_gray(drawn: Any) -> None:
    """Floats of 0 to 1 or of 0 to 255, with alpha or without, gray or colors, channels last or first, lists."""
    reel = video.Reel()
    assert reel.add(drawn) == 1
    (frame,) = reel.frames
    assert (frame.dtype, frame.ndim, frame.shape[-1]) == (np.uint8, 3, 3)
    assert (frame == 128).all()
    assert frame.shape[:2] in ((4, 6), (40, 60))
    assert frame.flags.writeable


def test_colors_keep_their_places() -> None:
    color = np.zeros((5, 7, 4), np.uint8)
    color[:] = 10, 20, 30, 40
    reel = video.Reel()
    assert reel.add([color, np.moveaxis(color, -1, 0)]) == 2
    assert all((frame == (10, 20, 30)).all() and frame.shape == (5, 7, 3) for frame in reel.frames)


def test_black_and_white() -> None:
    reel = video.Reel()
    reel.add(np.eye(3, dtype=bool))
    np.testing.assert_array_equal(reel.frames[0][..., 1], 255 * np.eye(3))


def test_floats_show_their_range_late() -> None:
    """Of 0 to 255, the first picture being nearly black."""
    reel = video.Reel()
    for value in (0.0, 1.0, 200.0, 1.0):
        reel.add(np.full((4, 4, 3), value))
    assert [frame[0, 0, 0] for frame in reel.frames] == [0, 1, 200, 1]


def test_a_picture_is_a_copy() -> None:
    canvas, reel = RGB.copy(), video.Reel()
    reel.add(canvas)
    canvas[:] = 0
    assert (reel.frames[0] == 128).all()


@pytest.mark.parametrize(
    ("drawn", "what"),
    [
        (None, "None"), ([RGB, None], "None"), ("text", "str, not an array of numbers"),
        ({"camera": RGB}, "dict, not an array"), (np.zeros(5), r"an array of shape \(5,\)"),
        (np.zeros((5, 4, 7)), r"an array of shape \(5, 4, 7\)"), (np.zeros((0, 4, 3)), r"an array of shape \(0,"),
        (np.full((4, 4), 1000), "numbers from 1000 to 1000"), (np.full((4, 4), -0.5), "numbers from -0.5 to -0.5"),
        (np.full((4, 4), np.nan), "numbers from nan to nan"), (3.0, r"an array of shape \(\)"),
    ],
)  # fmt: skip
def test_what_is_no_picture(drawn: Any, what: str) -> None:
    with pytest.raises(ValueError, match=f"^{what}"):
        video.Reel().add(drawn)


@pytest.mark.parametrize("sizes", [[(41, 63), (20, 80), (41, 63)], [(1, 1), (1, 1)], [(3, 700)]])
def test_any_size_can_be_written(sizes: list[tuple[int, int]], tmp_path: Path) -> None:
    """Also one that changes on the way: the film is as large as the largest, on black."""
    frames = video.same_size([np.full((*size, 3), 200, np.uint8) for size in sizes])
    paths = video.write(frames, tmp_path / "a", 10)
    assert all(path.stat().st_size for path in paths)
    assert len(imageio.mimread(paths[1])) == len(sizes)
    height, width = (max(2, *numbers) for numbers in zip(*sizes, (1, 1), strict=True))
    assert {frame.shape for frame in frames} == {(height, width, 3)}
    assert (frames[0][: sizes[0][0], : sizes[0][1]] == 200).all()
    assert not frames[0][sizes[0][0] :].any()


@pytest.mark.parametrize("flag", ["--frames=0", "--frames=many", "--seed=-1", "--seed=1.5"])
def test_numbers_that_cannot_be(flag: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert video.main([str(run), flag]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"lsp: error: {flag}: must be a whole number from ")
    assert err.count("\n") == 1


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
