"""Videos of a run's policy: `python -m lsp.video runs/NAME`; see `--help`. No display is needed.

MuJoCo draws with EGL or OSMesa, whichever works, unless MUJOCO_GL says which.
"""

import argparse
import inspect
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image, ImageDraw, ImageFont

from lsp import envs
from lsp.commands import Parser, status_of
from lsp.config import Config, ConfigError
from lsp.config.schema import Count, Natural, convert
from lsp.numpy_policy import NumpyPolicy

PROTOCOLS = ("sampled", "mode", "fixed_latent")
GL = ("egl", "osmesa")
PROBE = "import mujoco; context = mujoco.GLContext(32, 32); context.make_current(); context.free()"
NO_GL = (
    "nothing here can draw: neither EGL nor OSMesa works, or not what MUJOCO_GL says; "
    "on Debian or Ubuntu: apt-get install libegl1 libgl1-mesa-dri, or libosmesa6"
)
WALK_RANGE, WALK_SECONDS = 2.0, 4.0  # standard deviations of the latent's prior; one way and back
PYGAME = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}  # no display
DEFAULT_FPS = 30.0
GIF_SECONDS, MAX_GIF_BYTES = 10, 1_500_000
GIF_SIZES = ((320, 15), (240, 15), (240, 10), (160, 10))  # pixels and frames a second, at most; the first that fits
COLORS_OF_ALL = (
    "split[a][b];[a]palettegen=max_colors=64:stats_mode=diff[p];[b][p]paletteuse=dither=none:diff_mode=rectangle"
)


class Walk(NamedTuple):
    """One latent that moves while all others are zero."""

    layer: int  # from the bottom
    dimension: int

    def __str__(self) -> str:
        """As a caption says it."""
        return f"layer {self.layer}, latent {self.dimension}"


def choose_gl() -> str | None:
    """Name of a way to draw without a display that works here, put into MUJOCO_GL; None where there is none.

    Each is tried in a process of its own, since MuJoCo binds to one when it is imported.
    """
    given = os.environ.get("MUJOCO_GL", "disabled")
    for name in GL if given == "disabled" else [given]:
        environment = os.environ | {"MUJOCO_GL": name}
        probe = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, check=False)
        if probe.returncode == 0:
            os.environ["MUJOCO_GL"] = name
            return name
    os.environ["MUJOCO_GL"] = "disabled"  # or importing MuJoCo may fail
    return None


def latents(protocol: str, walk: Walk | None, fps: float, dim: int, seed: int) -> Iterator[np.ndarray]:
    """Latents [A] of one step after the other: moving along `walk`, or as evaluation under `protocol` has them."""
    rng = np.random.default_rng(seed)
    held = rng.standard_normal(dim, np.float32)
    step = 0
    while True:
        if walk is not None:
            latent = np.zeros(dim, np.float32)
            latent[walk.dimension] = WALK_RANGE * np.sin(2 * np.pi * step / (fps * WALK_SECONDS))
            yield latent
        elif protocol == "sampled":
            yield rng.standard_normal(dim, np.float32)
        else:
            yield held if protocol == "fixed_latent" else np.zeros(dim, np.float32)
        step += 1


def make_env(config: Config) -> envs.BoxEnv:
    """The environment of a configuration, made so that it draws; as it is where its constructor takes no `render_mode`.

    Raises ConfigError.
    """
    failure: ConfigError | None = None
    for mode in ("rgb_array", "rgb_array_list", None):
        try:
            env = envs.make_env(config) if mode is None else envs.make_env(config, render_mode=mode)
        except ConfigError as error:
            failure = failure or error
            continue
        modes = (env.metadata or {}).get("render_modes") or ()
        if mode in (*modes, None) or "rgb_array_list" not in modes:
            return env
        env.close()  # it takes any mode, and draws in another
    assert failure is not None
    raise failure


def record(
    env: envs.BoxEnv, policy: NumpyPolicy, moves: Iterator[np.ndarray], walk: Walk | None, steps: int, seed: int
) -> tuple[list[np.ndarray], float]:
    """One episode of at most `steps`: its frames u8[H, W, 3] and its return. Raises ConfigError, EnvironmentFault."""
    observation, _ = env.reset(seed=seed)
    reel, values, total = Reel(), [], 0.0
    for latent, _ in zip(moves, range(steps), strict=False):
        drawn = _draw(env, reel)
        if walk is not None:
            values += [float(latent[walk.dimension])] * drawn
        action = policy.squashed(observation, latent, None if walk is None else walk.layer)
        observation, reward, terminated, truncated, _ = env.step(action)
        total += reward
        if terminated or truncated:
            break
    if not reel.frames:
        raise _undrawn(env, "its render() returned no picture in the whole episode")
    frames = same_size(reel.frames)
    for frame, value in zip(frames, values, strict=False):
        mark(frame, value / WALK_RANGE)
        caption(frame, f"{walk}: {value:+.1f}")
    return frames, total


def _draw(env: envs.BoxEnv, reel: "Reel") -> int:
    """Add what the environment draws now, and say how many frames that is. Raises ConfigError."""
    render: Any = env.unwrapped.render
    try:
        old = "mode" in inspect.signature(render).parameters  # the interface before Gymnasium's
        drawn = render(mode="rgb_array") if old else env.render()
    except NotImplementedError:
        raise _undrawn(env, "it has no render()") from None
    except Exception as error:
        raise _undrawn(env, f"{type(error).__name__}: {error}", advise=False) from error
    try:
        return reel.add(drawn)
    except ValueError as error:
        raise _undrawn(env, f"its render() returned {error}") from error


def _undrawn(env: envs.BoxEnv, reason: str, advise: bool = True) -> ConfigError:
    rule = "; made with render_mode='rgb_array', it must return pictures, u8[H, W, 3] or floats from 0 to 1"
    return ConfigError(f"environment {env.name} cannot be drawn: {reason}{rule * advise}")


class Reel:
    """The frames of an episode, u8[H, W, 3] each, from whatever an environment draws."""

    def __init__(self) -> None:
        """No frames yet."""
        self.frames: list[np.ndarray] = []
        self._white = 1.0  # of floats; 255 as soon as one is above 1

    def add(self, drawn: Any) -> int:
        """Add one picture, or a list of them, and return how many that is. Raises ValueError, saying what it is."""
        several = isinstance(drawn, list | tuple) and not any(isinstance(each, list | int | float) for each in drawn)
        pictures = [_picture(each) for each in (drawn if several or np.ndim(drawn) == 4 else [drawn])]
        for picture in pictures:
            if picture.dtype.kind == "f" and self._white < picture.max() - 0.01:
                self.frames = [frame // 255 for frame in self.frames]  # they were dark, not light
                self._white = 255.0
            self.frames.append(_to_bytes(picture, self._white))
        return len(pictures)


def _picture(drawn: Any) -> np.ndarray:
    """One picture as [H, W, 3] of bool, int or float, each in its own range. Raises ValueError."""
    if drawn is None:
        raise ValueError("None")
    array = np.asarray(drawn)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{type(drawn).__name__}, not an array of numbers")
    channels = (1, 2, 3, 4)  # gray or colors, each without or with alpha, which is left out
    if array.ndim == 3 and array.shape[-1] not in channels and array.shape[0] in channels:
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in channels or array.size == 0:
        raise ValueError(f"an array of shape {array.shape}")
    low, high = array.min(), array.max()
    if not (np.isfinite([low, high]).all() and low >= -1e-3 * max(high, 1) and high <= 255):
        raise ValueError(f"numbers from {low:g} to {high:g}")
    colors = array[..., :3] if array.shape[-1] > 2 else array[..., :1]
    return np.broadcast_to(colors, (*colors.shape[:2], 3))


def _to_bytes(picture: np.ndarray, white: float) -> np.ndarray:
    """A copy as u8: environments may draw into the same array again and again."""
    if picture.dtype.kind in "iu":
        return picture.astype(np.uint8)
    factor = 255.0 if picture.dtype.kind == "b" else 255.0 / white
    return np.rint(np.clip(picture * factor, 0, 255)).astype(np.uint8)


def same_size(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Frames u8[H, W, 3] on black up to the size of the largest, at least 2 by 2 for the codec."""
    height, width = (max(2, *(frame.shape[axis] for frame in frames)) for axis in (0, 1))
    if all(frame.shape[:2] == (height, width) for frame in frames):
        return list(frames)
    return [np.pad(frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0))) for frame in frames]


def mark(frame: np.ndarray, position: float) -> None:
    """Draw a bar at the bottom of a frame u8[H, W, 3], with a marker at `position` in [-1, 1]; in place."""
    height, width, _ = frame.shape
    bar, half = max(4, height // 40), max(2, width // 80)
    frame[-bar:] = 60
    center = int(half + (width - 2 * half) * (position + 1) / 2)
    frame[-bar:, max(0, center - half) : center + half] = (255, 160, 0)


def caption(frame: np.ndarray, text: str) -> None:
    """Write a line of text into the upper left corner of a frame u8[H, W, 3], on a dark ground; in place."""
    size = max(9, frame.shape[0] // 24)
    picture, font = Image.fromarray(frame), ImageFont.load_default(size)
    canvas, place = ImageDraw.Draw(picture), (size // 2, size // 3)
    _, _, right, bottom = canvas.textbbox(place, text, font=font)
    canvas.rectangle((0, 0, right + place[0], bottom + place[1]), fill=(30, 30, 30))
    canvas.text(place, text, font=font, fill=(255, 200, 90))
    frame[:] = np.asarray(picture)


def write(frames: Sequence[np.ndarray], path: Path, fps: float) -> list[Path]:
    """Write `path`.mp4 in full, and `path`.gif: at most 10 seconds, small enough for a web page. Raises OSError.

    Returns both.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = (size // 2 * 2 for size in frames[0].shape[:2])  # the codec wants even sizes
    mp4, gif = path.with_name(f"{path.name}.mp4"), path.with_name(f"{path.name}.gif")
    even = [np.ascontiguousarray(frame[:height, :width]) for frame in frames]
    _encode(even, mp4, fps, ["-c:v", "libx264", "-pix_fmt", "yuv420p"])
    _write_gif(frames[: math.ceil(GIF_SECONDS * fps)], gif, fps)
    return [mp4, gif]


def _write_gif(frames: Sequence[np.ndarray], path: Path, fps: float) -> None:
    """With one palette of 64 colors for all frames, and of each frame no more than what changes."""
    height, width = frames[0].shape[:2]
    for pixels, rate in GIF_SIZES:
        skip, share = max(1, round(fps / rate)), min(1.0, pixels / max(height, width))
        size = ":".join(str(max(1, round(share * side))) for side in (width, height))
        _encode(frames[::skip], path, fps / skip, ["-filter_complex", f"scale={size}:flags=area,{COLORS_OF_ALL}"])
        if path.stat().st_size <= MAX_GIF_BYTES:
            return


def _encode(frames: Sequence[np.ndarray], path: Path, fps: float, options: Sequence[str]) -> None:
    """Have ffmpeg write a film. Raises OSError.

    imageio's own writer runs Python in a forked child, which JAX's threads might lock up.
    """
    height, width = frames[0].shape[:2]
    pixels = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    line = [get_ffmpeg_exe(), "-y", "-loglevel", "error", *pixels, *options, str(path)]
    coded = subprocess.run(line, input=b"".join(map(np.ndarray.tobytes, frames)), capture_output=True, check=False)
    if coded.returncode != 0:
        raise OSError(f"{path}: not written: {coded.stderr.decode(errors='replace').strip()}")


def film(options: argparse.Namespace) -> list[Path]:
    """Do what the options of `parser` say, and return what was written, the mp4 first.

    Raises ConfigError, CheckpointError, EnvironmentFault or OSError.
    """
    gl = choose_gl()
    os.environ.update(PYGAME | os.environ)
    steps, seed = convert("frames", options.frames, Count), convert("seed", options.seed, Natural)
    from lsp import export  # it makes environments, and so must come after the choice

    here = Path.cwd()  # which an environment may change
    with closing(make_env(export.task_of(options.run))) as env:
        policy = export.load_policy(here / options.run, options.step, env)
        walk = None if options.latent_walk is None else parse_walk(options.latent_walk, policy)
        if gl is None and type(getattr(env.unwrapped, "model", None)).__module__.startswith("mujoco"):
            raise ConfigError(NO_GL)
        fps = frames_per_second(env)
        moves = latents(options.protocol, walk, fps, policy.action_dim, seed)
        frames, total = record(env, policy, moves, walk, steps, seed)
    kind = options.protocol if walk is None else f"layer_{walk.layer}_latent_{walk.dimension}"
    path = options.run / "videos" / f"step_{policy.description['step']}_{kind}_s{seed}"
    written = write(frames, here / path, fps)
    for each in written:
        print(f"lsp: {path.with_name(each.name)}: {len(frames)} frames, return {total:,.1f}")
    return written


def frames_per_second(env: envs.BoxEnv) -> float:
    """What the environment's metadata say; 30 where that is nothing to go by."""
    try:
        fps = float((env.metadata or {}).get("render_fps") or DEFAULT_FPS)
    except (TypeError, ValueError):
        return DEFAULT_FPS
    return fps if 0 < fps < math.inf else DEFAULT_FPS


def parse_walk(text: str, policy: NumpyPolicy) -> Walk:
    """LAYER:LATENT, or LATENT of the top layer. Raises ConfigError."""
    layers, dims = len(policy.description["layers"]), policy.action_dim
    layer, _, dimension = text.rpartition(":")
    try:
        walk = Walk(int(layer) if layer else layers - 1, int(dimension))
    except ValueError:
        walk = Walk(-1, -1)
    if not (0 <= walk.layer < layers and 0 <= walk.dimension < dims):
        raise ConfigError(
            f"--latent-walk={text}: must be LAYER:LATENT, layers 0 (bottom) to {layers - 1}, latents 0 to {dims - 1}"
        )
    return walk


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit status."""
    return status_of(lambda: 0 * len(film(parser().parse_args(arguments))))


def parser() -> argparse.ArgumentParser:
    """What reads the command line."""
    parser = Parser("video", "Film an episode of a run's policy: mp4 and GIF, in RUN/videos.")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, or of an exported policy")
    parser.add_argument("--step", type=int, help="which checkpoint, by its environment step (default: the newest)")
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, default="sampled",
        help="a new latent each step, the zero latent, one held for the episode (default: sampled)",
    )  # fmt: skip
    parser.add_argument(
        "--latent-walk", metavar="LAYER:LATENT",
        help="move this latent between -2 and 2, all others at zero; layer 0 is the bottom",
    )  # fmt: skip
    parser.add_argument("--frames", default=500, help="steps to film at most (default: 500)")
    parser.add_argument("--seed", default=0, help="of the first state and the latents (default: 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
