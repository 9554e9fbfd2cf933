"""An exported policy does what the agent does, in the environment's units, and loads where `lsp` is not installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from lsp import envs, export
from lsp.config import ConfigError
from lsp.storage import checkpoint, layer_files
from lsp.types import EnvSpec
from tests.support.policies import untrained

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from numpy_policy import load
observation, latent, actions = (np.load(f"{sys.argv[1]}/{name}.npy") for name in ("observation", "latent", "actions"))
np.testing.assert_allclose(load(sys.argv[1]).at_latent(observation, latent), actions, rtol=1e-4, atol=1e-5)
assert not {"jax", "lsp"} & sys.modules.keys()
import jax.export
program = jax.export.deserialize(bytearray(open(f"{sys.argv[1]}/policy.stablehlo", "rb").read()))
np.testing.assert_allclose(program.call(observation, latent), actions, rtol=1e-4, atol=1e-5)
assert "lsp" not in sys.modules
"""


RUNS = [("modern", 2, "real_nvp"), ("dissertation", 1, "real_nvp"), ("modern", 2, "spline")]


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    preset, layers, kind = request.param
    return untrained(tmp_path_factory.mktemp("runs") / "run", preset, layers=layers, **{"flow.kind": kind})


def test_is_the_agent(run: Path, rng: np.random.Generator) -> None:
    """Twice the agent's action, for the pendulum's torque is bounded by 2."""
    actor = export.load_actor(run)
    observation, latent = (rng.normal(size=(6, n)).astype(np.float32) for n in (3, 1))
    expected = 2 * np.asarray(actor.agent.act_latent(actor.params, observation, latent).env_action)
    np.testing.assert_allclose(export.to_numpy(actor).at_latent(observation, latent), expected, rtol=1e-4, atol=1e-5)
    policy = export.load_policy(run)
    mode = 2 * np.asarray(actor.agent.act_mode(actor.params, observation).env_action)
    np.testing.assert_allclose(policy(observation), mode, rtol=1e-4, atol=1e-5)
    key = jax.random.key(1)
    np.testing.assert_array_equal(policy(observation, key), policy(observation, key))
    assert not np.allclose(policy(observation, key), policy(observation, jax.random.key(2)))
    assert policy(observation[0]).shape == (1,)


def test_loads_without_lsp(run: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    pytest.importorskip("flatbuffers", reason="jax.export writes with it")
    out = tmp_path / "policy"
    assert export.main([str(run), f"--out={out}"]) == 0
    actor = export.load_actor(run)
    observation, latent = (rng.normal(size=(6, n)).astype(np.float32) for n in (3, 1))
    actions = 2 * np.asarray(actor.agent.act_latent(actor.params, observation, latent).env_action)
    for name, array in (("observation", observation), ("latent", latent), ("actions", actions)):
        np.save(out / name, array)
    line = [sys.executable, "-c", SCRIPT, str(out)]
    result = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(export.load_policy(out)(observation), export.load_policy(run)(observation))


def test_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = untrained(tmp_path / "run")
    assert export.load_actor(run, 100).step == 100
    with pytest.raises(ConfigError, match=r"--step=7: .* has checkpoints of steps 100"):
        export.load_actor(run, 7)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(checkpoint.CheckpointError, match="no complete checkpoint yet"):
        export.load_policy(run)
    assert export.main([str(run)]) == 1
    assert export.main([str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert f"choose one of the runs in it, such as {run}" in err
    assert err.count("\n") == 2


class Shaped(gymnasium.Env):
    """Observes in parts, and acts by a table whose bounds float32 does not hold."""

    observation_space = Dict(place=Box(-9.0, 9.0, (2,), np.float64), height=Box(-9.0, 9.0, (), np.float64))
    action_space = Box(np.array([[-0.7, 0.1], [0.3, 0.7]]), np.array([[0.1, 0.7], [0.3, 0.9]]), dtype=np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"place": np.array([1.0, 2.0]), "height": np.array(3.0)}, {}

    def step(self, action):
        self.action = action
        return self.reset()[0], float(action.sum()), False, False, {}


def test_own_bounds_and_shape(tmp_path: Path, rng: np.random.Generator) -> None:
    """By NumPy in float64; by StableHLO in float32, whose numbers lie within the same bounds."""
    run = untrained(tmp_path / "run", spec=EnvSpec(3, 4), env=f"{__name__}:Shaped")
    actor, space = export.load_actor(run), Shaped.action_space
    policy = export.to_numpy(actor)
    observation = rng.normal(size=(50, 3)).astype(np.float32)
    latent = (rng.normal(size=(50, 4)) * rng.choice([1, 1e4], (50, 1))).astype(np.float32)
    actions = policy.at_latent(observation, latent)
    assert actions.shape == (50, 2, 2)
    assert all(action in space for action in actions)
    assert [actions.min(axis=0)[0, 0], actions.max(axis=0)[0, 0]] == pytest.approx([-0.7, 0.1], rel=1e-12)
    assert (actions[:, 1, 0] == 0.3).all()
    squashed = policy.squashed(observation, latent)
    env = envs.make(f"{__name__}:Shaped")
    env.reset(seed=0)
    for action, unit in zip(actions, squashed, strict=True):
        env.step(unit)
        np.testing.assert_allclose(env.unwrapped.action, action, rtol=1e-12)
    flat, own = env.reset(seed=0)[0], env.unwrapped.reset()[0]
    assert policy(own) in space
    np.testing.assert_array_equal(policy(own), policy(flat))
    both = {"place": np.ones((5, 2)), "height": np.zeros(5)}
    np.testing.assert_allclose(policy(both)[3], policy(np.array([1.0, 1.0, 0.0])), rtol=1e-5)

    out = tmp_path / "policy"
    export.save(actor, out)
    np.testing.assert_array_equal(export.load_policy(out)(observation, 3), policy(observation, 3))
    program = jax.export.deserialize(bytearray((out / "policy.stablehlo").read_bytes()))
    theirs = np.asarray(program.call(observation, latent)).astype(np.float64)
    np.testing.assert_allclose(theirs, actions, rtol=1e-4, atol=1e-5)
    free = space.low < space.high  # of a single number like 0.3, float32 can but have the nearest
    assert (theirs >= space.low)[:, free].all()
    assert (theirs <= space.high)[:, free].all()


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(-0.7, 0.1, np.float64), (0.1, 0.7, np.float64), (-1.0, 1.0, np.float32), (0.3, 0.3, np.float64)],
)
def test_bounds_within_float32(low: float, high: float, dtype: type) -> None:
    bounds = np.array([low], dtype), np.array([high], dtype)
    lowest, highest = export.within_float32(*bounds)
    assert lowest.dtype == highest.dtype == np.float32
    np.testing.assert_allclose([lowest[0], highest[0]], [low, high], rtol=1e-6)
    if low < high:
        assert low <= float(lowest[0]) < float(highest[0]) <= high
    else:
        assert lowest == highest == np.float32(low)


@pytest.mark.parametrize("env", ["lsp/Reacher2D-v0"])
def test_observations_as_a_task_with_goals_gives_them(env: str, tmp_path: Path) -> None:
    flat, own = envs.make(env), gymnasium.make(env)
    policy = export.load_policy(untrained(tmp_path / "run", spec=envs.spec_of(flat), env=env))
    np.testing.assert_array_equal(policy(own.reset(seed=3)[0]), policy(flat.reset(seed=3)[0]))


def test_a_run_that_was_published(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without checkpoints its policy acts as before; whatever asks for one ends in one line."""
    pytest.importorskip("flatbuffers", reason="jax.export writes with it")
    monkeypatch.chdir(tmp_path)
    run, published = untrained(Path("runs/NAME"), steps=100), Path("published")
    for depth, layer in enumerate(export.load_actor(run).layers):
        layer_files.save(run, depth, layer)
    for name in ("eval.jsonl", "metrics.jsonl"):
        (run / name).touch()
    assert export.main([str(run), f"--publish={published}", "--step=100"]) == 2
    assert export.main([str(run), f"--publish={published}"]) == 0
    assert "lsp: published in published: " in capsys.readouterr().out
    observation = rng.normal(size=(6, 3)).astype(np.float32)
    for folder in (published, published / "policy"):
        np.testing.assert_array_equal(export.load_policy(folder)(observation), export.load_policy(run)(observation))
        assert export.task_of(folder).env == "Pendulum-v1"
    with pytest.raises(ConfigError, match="--step=100: published has no checkpoints, only a policy that was exported"):
        export.load_policy(published, 100)
    with pytest.raises(ConfigError, match=r"policy of \(3, 1\) observations and actions, and lsp/PointMass-v0 has"):
        export.load_policy(published, env=envs.make("lsp/PointMass-v0"))
    assert export.main([str(published)]) == 2
    assert "published has no checkpoint to export; its policy is exported already" in capsys.readouterr().err
    (published / "policy" / "weights.npz").write_bytes(b"PK, and then nothing")
    with pytest.raises(ConfigError, match="published/policy holds no policy that can be read"):
        export.load_policy(published)
