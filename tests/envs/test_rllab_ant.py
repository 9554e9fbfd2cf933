import os
import subprocess
import sys
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lsp import video
from lsp.envs import RllabAntEnv, make

REWARD_TERMS = ("reward_forward", "reward_ctrl", "reward_contact", "reward_survive")


@pytest.fixture
def ant():
    env = RllabAntEnv()
    env.reset(seed=0)
    yield env
    env.close()


def actions(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 8)).astype(np.float32)


def place(env, height, velocity=None):
    """Put the ant upright at `height`, in its initial pose."""
    qpos = env.data.qpos.copy()
    qpos[2], qpos[3:7] = height, (1, 0, 0, 0)
    env.set_state(qpos, np.zeros(14) if velocity is None else velocity)


def test_the_model_has_the_studys_body_and_time_step(ant):
    model = ant.model
    assert ant.dt == 0.02
    assert (model.nq, model.nv, model.nu) == (15, 14, 8)
    assert np.all(model.actuator_gear[:, 0] == 150)
    assert np.all(model.dof_armature == [0] * 6 + [1] * 8)
    assert np.all(model.dof_damping == [0] * 6 + [1] * 8)
    assert np.all(model.geom_solimp[:, :3] == [0.8, 0.8, 0.01])
    # Mass of a ball and of a capsule at density 5 kg/m^3.
    assert model.body("torso").mass[0] == pytest.approx(5 * 4 / 3 * np.pi * 0.25**3, rel=1e-9)
    length, radius = 0.4 * np.sqrt(2), 0.08
    capsule = 5 * np.pi * (radius**2 * length + 4 / 3 * radius**3)
    assert model.body_mass.min(where=model.body_mass > 0, initial=1.0) < capsule
    assert model.body_mass[4] == pytest.approx(capsule, rel=1e-9)


def test_observation_is_the_present_state(ant):
    """All five parts describe one instant, the end of the step."""
    for action in actions(20):
        observation, *_ = ant.step(action)
    twin = RllabAntEnv()
    twin.reset(seed=1)
    twin.set_state(ant.data.qpos, ant.data.qvel)
    parts = np.split(observation, [15, 29, 113, 122])
    assert np.array_equal(parts[0], ant.data.qpos)
    assert np.array_equal(parts[1], ant.data.qvel)
    assert np.abs(parts[2]).max() <= 1
    np.testing.assert_allclose(parts[3].reshape(3, 3), twin.data.body("torso").xmat.reshape(3, 3), atol=1e-12)
    masses = twin.model.body_mass
    np.testing.assert_allclose(parts[4], masses @ twin.data.xipos / masses.sum(), atol=1e-12)


def test_forces_appear_on_contact_and_only_then(ant):
    place(ant, 0.9)
    observation, *_ = ant.step(np.zeros(8, np.float32))
    assert np.all(observation[29:113] == 0)
    for action in actions(40):
        observation, *_, info = ant.step(action)
    assert np.any(observation[29:113] != 0)
    assert info["reward_contact"] == pytest.approx(-5e-4 * np.sum(observation[29:113] ** 2))
    assert info["reward_contact"] < 0


def test_reward_is_the_sum_of_its_terms(ant):
    for action in actions(50):
        _, reward, _, _, info = ant.step(action)
        assert reward == pytest.approx(sum(info[term] for term in REWARD_TERMS), abs=1e-12)
        assert info["reward_ctrl"] == pytest.approx(-0.005 * np.sum(action.astype(float) ** 2), rel=1e-6)
        assert info["reward_survive"] == 0.05
        assert info["reward_forward"] == info["x_velocity"]


def test_speed_is_the_rate_of_the_robots_center_of_mass(ant):
    """Central law: the mean of two successive speeds is the displacement over the step, up to O(dt^2) and impacts."""
    positions, speeds = [], []
    for action in actions(200):
        observation, _, _, _, info = ant.step(action)
        positions.append(observation[122])
        speeds.append(info["x_velocity"])
    difference = np.diff(positions) / 0.02
    mean_speed = (np.array(speeds[1:]) + np.array(speeds[:-1])) / 2
    assert np.std(speeds) > 0.1
    assert np.abs(difference - mean_speed).max() < 0.1
    assert np.abs(difference - mean_speed).mean() < 0.01


@pytest.mark.parametrize(
    ("quaternion", "up"),
    [
        ((1, 0, 0, 0), 1), ((0, 1, 0, 0), -1), ((0, 0, 1, 0), -1), ((0, 0, 0, 1), 1), ((1, 1, 0, 0), 0),
        ((3, 0, 1, 5), 33 / 35),
    ],
)
def test_the_torsos_upward_axis(ant, quaternion, up):
    """1 - 2 (x^2 + y^2) of its unit quaternion, and MuJoCo's rotation matrix."""
    qpos = ant.data.qpos.copy()
    qpos[2], qpos[3:7] = 0.9, quaternion
    ant.set_state(qpos, np.zeros(14))
    _, _, _, _, info = ant.step(np.zeros(8, np.float32))
    _, x, y, _ = ant.data.qpos[3:7] / np.linalg.norm(ant.data.qpos[3:7])
    assert info["torso_up"] == pytest.approx(1 - 2 * (x**2 + y**2), abs=1e-12)
    assert info["torso_up"] == ant.data.body("torso").xmat[8]
    assert info["torso_up"] == pytest.approx(up, abs=0.01)  # a step has gone by


def test_info_says_where_the_torso_is(ant):
    for action in actions(20):
        observation, _, _, _, info = ant.step(action)
        assert (info["x_position"], info["y_position"]) == tuple(observation[:2])


def test_speed_is_exact_in_rigid_translation(ant):
    velocity = np.zeros(14)
    velocity[0] = 3.0
    place(ant, 0.9, velocity)
    _, _, _, _, info = ant.step(np.zeros(8, np.float32))
    assert info["x_velocity"] == pytest.approx(3.0, abs=1e-9)


def test_reset_noise_has_the_studys_scale():
    env = RllabAntEnv()
    observations = np.array([env.reset(seed=seed)[0] for seed in range(300)])
    initial = [0, 0, 0.55, 1, 0, 0, 0, 0, 1, 0, -1, 0, -1, 0, 1]
    # MuJoCo normalizes the quaternion only inside its kinematics, so all 15 positions keep their noise.
    np.testing.assert_allclose(observations[:, :15].mean(0), initial, atol=0.003)
    np.testing.assert_allclose(observations[:, :15].std(0), 0.01, rtol=0.2)
    np.testing.assert_allclose(observations[:, 15:29].std(0), 0.1, rtol=0.2)


@pytest.mark.parametrize(("height", "falls"), [(0.15, True), (0.5, False), (1.1, True)])
def test_leaving_the_band_of_heights_terminates(ant, height, falls):
    place(ant, height)
    _, _, terminated, truncated, _ = ant.step(np.zeros(8, np.float32))
    assert terminated == falls
    assert not truncated


def test_a_state_that_is_not_finite_terminates(ant, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # MuJoCo logs its warning into the working directory
    ant.data.qvel[3] = np.nan
    observation, _, terminated, _, _ = ant.step(np.zeros(8, np.float32))
    assert terminated
    assert not np.isfinite(observation).all()


def test_time_limit_truncates():
    env = make("lsp/RllabAnt-v0")
    env.reset(seed=0)
    still = np.zeros(8, np.float32)
    flags = [env.step(still)[2:4] for _ in range(1000)]
    assert not any(terminated for terminated, _ in flags)
    assert [truncated for _, truncated in flags] == [False] * 999 + [True]


def test_same_seed_same_bits():
    def rollout():
        env = RllabAntEnv()
        first, _ = env.reset(seed=7)
        return np.array([first] + [env.step(action)[0] for action in actions(50)])

    assert np.array_equal(rollout(), rollout())


@pytest.mark.filterwarnings("ignore:.*A Box observation space (min|max)imum value is")
def test_gymnasiums_checker_is_content():
    check_env(gymnasium.make("lsp/RllabAnt-v0", disable_env_checker=True).unwrapped, skip_render_check=True)


class Viewer:
    """Stands for Gymnasium's, which needs GL."""

    def __init__(self) -> None:
        self.cam, self.drawn = mujoco.MjvCamera(), []

    def add_marker(self, **marker: Any) -> None:
        self.drawn.append(marker)


def seen(env: Any, monkeypatch: pytest.MonkeyPatch) -> Viewer:
    """What the environment shows to a viewer, the ant being at (7, -3)."""
    viewer, renderer = Viewer(), env.mujoco_renderer
    monkeypatch.setattr(renderer, "_get_viewer", lambda mode: viewer)
    monkeypatch.setattr(renderer, "render", lambda mode: None)
    env.reset(seed=0)
    env.data.qpos[:2] = 7, -3
    env.render()
    return viewer


def test_the_camera_goes_with_the_ant(monkeypatch: pytest.MonkeyPatch) -> None:
    env = RllabAntEnv(render_mode="rgb_array")
    viewer = seen(env, monkeypatch)
    np.testing.assert_allclose(viewer.cam.lookat[:2], [7, -3])
    np.testing.assert_allclose(env.data.light_xpos[0, :2], [7, -3])
    assert viewer.drawn == []


@pytest.mark.parametrize("name", ["lsp/CrossMazeAnt-v0", "lsp/RllabAntGoal-v0"])
def test_a_camera_that_sees_all_goals_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its angle is 45 degrees: to each side it sees tan(22.5 degrees) times its distance."""
    env: Any = gymnasium.make(name, render_mode="rgb_array", disable_env_checker=True).unwrapped
    viewer = seen(env, monkeypatch)
    np.testing.assert_allclose(viewer.cam.lookat, [0, 0, 0])  # the stand-in's own: the ant does not move it
    (disc,) = viewer.drawn
    goal = env.data.userdata if name == "lsp/CrossMazeAnt-v0" else env.goal
    np.testing.assert_allclose(disc["pos"][:2], goal)
    center, distance = env.camera["lookat"][:2], env.camera["distance"]
    assert np.abs(goal - center).max() + disc["size"][0] < 0.41 * distance


def test_a_velocity_is_an_arrow_above_the_ant(monkeypatch: pytest.MonkeyPatch) -> None:
    env: Any = gymnasium.make("lsp/RllabAntVelocity-v0", render_mode="rgb_array", disable_env_checker=True).unwrapped
    (arrow,) = seen(env, monkeypatch).drawn
    np.testing.assert_allclose(arrow["pos"][:2], [7, -3])
    assert arrow["size"][2] == pytest.approx(np.hypot(*env.goal))


PICTURE = """
import gymnasium, lsp.envs, numpy as np
env = gymnasium.make("lsp/CrossMazeAnt-v0", render_mode="rgb_array", disable_env_checker=True).unwrapped
frames = []
for goal in ((6.0, 6.0), (12.0, 0.0)):
    env.reset(seed=0)
    env.data.userdata[:] = goal
    frames.append(env.render().astype(int))
changed = np.argwhere(np.abs(frames[0] - frames[1]).max(axis=-1) > 40)
rows, columns = changed[:, 0], changed[:, 1]
print(rows.min(), rows.max(), columns.min(), columns.max())
env.close()
"""


@pytest.mark.slow
def test_pixels_change_where_the_goal_was_and_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """From above, 480 pixels are some 18.6 m: x from -3.3 to the right, y from 9.3 downward."""
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    if (name := video.choose_gl()) is None:
        pytest.skip("nothing here can draw")
    environment = os.environ | {"MUJOCO_GL": name}
    out = subprocess.run([sys.executable, "-c", PICTURE], env=environment, capture_output=True, text=True, check=True)
    top, bottom, left, right = map(int, out.stdout.split())
    meter = 480 / 18.6
    np.testing.assert_allclose([top, bottom], [(9.3 - 8) * meter, (9.3 + 2) * meter], atol=meter / 2)
    np.testing.assert_allclose([left, right], [(3.3 + 4) * meter, (3.3 + 14) * meter], atol=meter / 2)
