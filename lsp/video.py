"""Videos of a run's policy: `python -m lsp.video runs/NAME`; see `--help`. No display is needed.

MuJoCo draws with EGL or OSMesa, whichever works, unless MUJOCO_GL says which.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v2 as imageio
import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe

from lsp import envs
from lsp.commands import Parser, status_of
from lsp.config import ConfigError
from lsp.numpy_policy import NumpyPolicy
from lsp.storage.run_folder import read_config

PROTOCOLS = ("sampled", "mode", "fixed_latent")
GL = ("egl", "osmesa")
PROBE = "import mujoco; context = mujoco.GLContext(32, 32); context.make_current(); context.free()"
NO_GL = (
    "nothing here can draw: neither EGL nor OSMesa works, or not what MUJOCO_GL says; "
    "on Debian or Ubuntu: apt-get install libegl1 libgl1-mesa-dri, or libosmesa6"
)
WALK_RANGE, WALK_SECONDS = 2.0, 4.0  # standard deviations of the latent's prior; one way and back
PYGAME = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}  # no display
MAX_GIF_FRAMES, GIF_FPS, GIF_PIXELS = 150, 15, 320


class Walk(NamedTuple):
    """One latent that moves while all others are zero."""

    layer: int  # from the bottom
    dimension: int


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


def record(
    env: envs.BoxEnv, policy: NumpyPolicy, moves: Iterator[np.ndarray], walk: Walk | None, steps: int, seed: int
) -> tuple[list[np.ndarray], float]:
    """One episode of at most `steps`: its frames u8[H, W, 3] and its return. Raises ConfigError, EnvironmentFault."""
    observation, _ = env.reset(seed=seed)
    frames, total = [], 0.0
    for latent, _ in zip(moves, range(steps), strict=False):
        frames.append(_draw(env))
        if walk is not None:
            mark(frames[-1], float(latent[walk.dimension]) / WALK_RANGE)
        action = policy.squashed(observation, latent, None if walk is None else walk.layer)
        observation, reward, terminated, truncated, _ = env.step(action)
        total += reward
        if terminated or truncated:
            break
    return frames, total


def _draw(env: envs.BoxEnv) -> np.ndarray:
    try:
        frame: Any = env.render()
    except Exception as error:
        raise ConfigError(f"environment {env.name} cannot be drawn: {type(error).__name__}: {error}") from error
    if not (isinstance(frame, np.ndarray) and frame.ndim == 3):
        raise ConfigError(f"environment {env.name} cannot be drawn: its render_mode rgb_array gives {type(frame)}")
    return np.ascontiguousarray(frame)


def mark(frame: np.ndarray, position: float) -> None:
    """Draw a bar at the bottom of a frame u8[H, W, 3], with a marker at `position` in [-1, 1]; in place."""
    height, width, _ = frame.shape
    bar, half = max(4, height // 40), max(2, width // 80)
    frame[-bar:] = 60
    center = int(half + (width - 2 * half) * (position + 1) / 2)
    frame[-bar:, max(0, center - half) : center + half] = (255, 160, 0)


def write(frames: Sequence[np.ndarray], path: Path, fps: float) -> list[Path]:
    """Write `path`.mp4 in full and `path`.gif, smaller and at most 10 seconds long; returns both. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = (size // 2 * 2 for size in frames[0].shape[:2])  # the codec wants even sizes
    mp4, gif = path.with_name(f"{path.name}.mp4"), path.with_name(f"{path.name}.gif")
    # imageio's own writer runs Python in a forked child, which JAX's threads might lock up.
    pixels = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    line = [get_ffmpeg_exe(), "-y", "-loglevel", "error", *pixels, "-c:v", "libx264", "-pix_fmt", "yuv420p", str(mp4)]
    data = b"".join(frame[:height, :width].tobytes() for frame in frames)
    coded = subprocess.run(line, input=data, capture_output=True, check=False)
    if coded.returncode != 0:
        raise OSError(f"{mp4}: not written: {coded.stderr.decode(errors='replace').strip()}")
    shrink, skip = -(-max(height, width) // GIF_PIXELS), max(1, round(fps / GIF_FPS))
    small = [_shrunk(frame, shrink) for frame in frames[::skip][:MAX_GIF_FRAMES]]
    imageio.mimsave(gif, small, duration=1000 * skip / fps, loop=0)  # type: ignore[arg-type]  # options of the GIF writer
    return [mp4, gif]


def _shrunk(frame: np.ndarray, factor: int) -> np.ndarray:
    """Means of blocks of `factor` by `factor` pixels."""
    height, width = (size // factor for size in frame.shape[:2])
    blocks = frame[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return blocks.mean(axis=(1, 3)).astype(np.uint8)


def film(options: argparse.Namespace) -> int:
    """Do what the options say, and return 0. Raises ConfigError, CheckpointError, EnvironmentFault or OSError."""
    gl = choose_gl()
    os.environ.update(PYGAME | os.environ)
    from lsp import export  # it makes environments, and so must come after the choice

    here = Path.cwd()  # which an environment may change
    with closing(envs.make_env(read_config(options.run), render_mode="rgb_array")) as env:
        actor = export.load_actor(here / options.run, options.step, env)
        policy = export.to_numpy(actor)
        walk = None if options.latent_walk is None else parse_walk(options.latent_walk, policy)
        if gl is None and hasattr(env.unwrapped, "model"):  # MuJoCo's
            raise ConfigError(NO_GL)
        fps = float(env.metadata.get("render_fps") or 30)
        moves = latents(options.protocol, walk, fps, actor.spec.action_dim, options.seed)
        frames, total = record(env, policy, moves, walk, options.frames, options.seed)
    kind = options.protocol if walk is None else f"layer_{walk.layer}_latent_{walk.dimension}"
    path = options.run / "videos" / f"step_{actor.step}_{kind}_s{options.seed}"
    for written in write(frames, here / path, fps):
        print(f"lsp: {path.with_name(written.name)}: {len(frames)} steps, return {total:,.1f}")
    return 0


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
    return status_of(lambda: film(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = Parser("video", "Film an episode of a run's policy: mp4 and GIF, in RUN/videos.")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--step", type=int, help="which checkpoint, by its environment step (default: the newest)")
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, default="sampled",
        help="a new latent each step, the zero latent, one held for the episode (default: sampled)",
    )  # fmt: skip
    parser.add_argument(
        "--latent-walk", metavar="LAYER:LATENT",
        help="move this latent between -2 and 2, all others at zero; layer 0 is the bottom",
    )  # fmt: skip
    parser.add_argument("--frames", type=int, default=500, help="steps to film at most (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="of the first state and the latents (default: 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
