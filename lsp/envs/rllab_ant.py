"""The ant of SAC-LSP and of the study: rllab's `AntEnv`, rebuilt on today's MuJoCo.

Returns on it compare with the study's in scale, not to the digit: the study ran MuJoCo 1.31, whose contact solver
differs. They never compare with Gymnasium's `Ant`, which pays 1.0 per step for standing and charges 100 times more for
control.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box

TIMESTEP = 0.02  # seconds of simulated time per step, one RK4 step each
HEALTHY_HEIGHT = (0.2, 1.0)  # meters, of the torso's center
SURVIVE_REWARD = 0.05
CONTROL_COST_WEIGHT = 0.005
CONTACT_COST_WEIGHT = 0.0005
INITIAL_QPOS = (0, 0, 0.55, 1, 0, 0, 0, 0, 1, 0, -1, 0, -1, 0, 1)
POSITION_NOISE = 0.01  # standard deviations of the reset noise
VELOCITY_NOISE = 0.1

TORSO = 1  # body 0 is the world
NUM_POSITIONS, NUM_VELOCITIES, NUM_FORCES = 15, 14, 84
OBSERVATION_DIM = NUM_POSITIONS + NUM_VELOCITIES + NUM_FORCES + 9 + 3

CHASE = {"distance": 4.5, "elevation": -30.0, "azimuth": 90.0}
"""A camera beside the ant, in m and degrees: it sees x to the right, and the ground up to some 20 m."""
EYE_LEVEL = 0.4  # meters, of the point that it looks at
SQUARES = (0.44, 0.48, 0.52), (0.52, 0.56, 0.60)  # their two colors
SQUARE = 2.0  # meters, side of one


class RllabAntEnv(MujocoEnv):
    """A four-legged robot that should run along x. Registered as `lsp/RllabAnt-v0`, with a time limit of 1000 steps.

    A step is 0.02 s.
    Observation f64[125]: positions [15], x and y included; velocities [14]; external contact forces [84], clipped to
    [-1, 1]; rotation matrix of the torso [9]; center of mass of the robot [3].
    Action f[8] in [-1, 1]: torques, in units of 150 N m.

    Reward: x velocity of the center of mass in m/s - 0.005 |a|^2 - 0.0005 |clipped contact forces|^2 + 0.05.
    Terminates when the torso's height leaves [0.2, 1.0] m or the state is not finite.

    `info` of a step: `x_velocity` in m/s (center of mass); `x_position` and `y_position` in m (torso); `torso_up`, the
    vertical part of the torso's own upward axis, 1 - 2 (x^2 + y^2) of its unit quaternion (w, x, y, z): 1 upright, -1
    on its back; and the four reward terms.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # Gymnasium declares it without ClassVar
        "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
        "render_fps": 50,
    }

    observation_dim: ClassVar[int] = OBSERVATION_DIM
    camera: ClassVar[dict[str, Any]] = CHASE
    """Where pictures are taken from, as attributes of an `MjvCamera`; with "lookat" it stays there."""

    def __init__(self, render_mode: str | None = None, **renderer: Any) -> None:
        """Build the model; `renderer` holds `MujocoEnv`'s options, such as width and height in pixels."""
        super().__init__(
            "ant.xml",
            frame_skip=1,
            observation_space=Box(-np.inf, np.inf, (self.observation_dim,), np.float64),
            render_mode=render_mode,
            default_camera_config=renderer.pop("default_camera_config", self.camera),
            **renderer,
        )

    def render(self) -> Any:
        """What `MujocoEnv` draws, and `markers`; camera and light go with the ant unless the camera has its place."""
        if self.render_mode is not None:
            viewer = self.mujoco_renderer._get_viewer(self.render_mode)
            if "lookat" not in (self.mujoco_renderer.default_cam_config or {}):
                viewer.cam.lookat[:] = *self.data.qpos[:2], EYE_LEVEL
                self.data.light_xpos[:, :2] = self.data.qpos[:2]  # where there are shadows
            for marker in self.markers():
                viewer.add_marker(**marker)
        return super().render()

    def markers(self) -> Iterable[dict[str, Any]]:
        """What to draw beside the model: type, pos, size, rgba, mat of a geom each. Nothing of it is ever touched."""
        return ()

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = load_model(self.fullpath, self._furnish)
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, self.width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, self.height)
        return model, mujoco.MjData(model)

    def _furnish(self, spec: mujoco.MjSpec) -> None:
        """Change the model before it is compiled: for other tasks of this body."""

    def reset_model(self) -> np.ndarray:
        """Start near the initial pose, with normal noise, and return the first observation f64[125]."""
        self.data.qpos[:] = INITIAL_QPOS + POSITION_NOISE * self.np_random.standard_normal(NUM_POSITIONS)
        self.data.qvel[:] = VELOCITY_NOISE * self.np_random.standard_normal(NUM_VELOCITIES)
        self._derive()
        return self._observe(self._contact_forces())

    def step(  # type: ignore[override]  # plain floats, where Gymnasium annotates np.float64
        self, action: np.ndarray
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, float]]:
        """Apply torques `action` f[8] for 0.02 s."""
        data = self.data
        data.ctrl[:] = action
        mujoco.mj_step(self.model, data)
        self._derive()
        forces = self._contact_forces()
        forward = self._speed()
        control = -CONTROL_COST_WEIGHT * float(np.dot(action, action))
        contact = -CONTACT_COST_WEIGHT * float(np.dot(forces, forces))
        reward = forward + control + contact + SURVIVE_REWARD
        info = {
            "x_velocity": float(data.subtree_linvel[TORSO, 0]),
            "x_position": float(data.qpos[0]),
            "y_position": float(data.qpos[1]),
            "torso_up": float(data.xmat[TORSO, 8]),
            "reward_forward": forward,
            "reward_ctrl": control,
            "reward_contact": contact,
            "reward_survive": SURVIVE_REWARD,
        }
        if self.render_mode == "human":
            self.render()
        return self._observe(forces), reward, not self._healthy(), False, info

    def _derive(self) -> None:
        """Bring poses, contact forces and subtree velocities up to the present positions and velocities.

        `mj_step` leaves them at RK4's last intermediate state, so rllab ran the forward pass again, and so do we. Since
        MuJoCo 2, contact forces and subtree velocities are computed only when asked for.
        """
        mujoco.mj_forward(self.model, self.data)
        mujoco.mj_rnePostConstraint(self.model, self.data)
        mujoco.mj_subtreeVel(self.model, self.data)

    def _speed(self) -> float:
        """What is rewarded, in m/s: the velocity of the center of mass along x."""
        return float(self.data.subtree_linvel[TORSO, 0])

    def _contact_forces(self) -> np.ndarray:
        return np.minimum(np.maximum(self.data.cfrc_ext, -1.0), 1.0).ravel()

    def _observe(self, forces: np.ndarray) -> np.ndarray:
        data = self.data
        return np.concatenate((data.qpos, data.qvel, forces, data.xmat[TORSO], data.subtree_com[TORSO]))

    def _healthy(self) -> bool:
        low, high = HEALTHY_HEIGHT
        # A sum is finite only if every term is; a finite state never overflows it.
        finite = math.isfinite(self.data.qpos.sum()) and math.isfinite(self.data.qvel.sum())
        return finite and low <= self.data.qpos[2] <= high


def load_model(path: str, furnish: Callable[[mujoco.MjSpec], None]) -> mujoco.MjModel:
    """Gymnasium's ant with rllab's time step and contact softness, and without MuJoCo's silent reset of a bad state.

    `furnish` may change the model before it is compiled.
    """
    spec = mujoco.MjSpec.from_file(path)
    furnish(spec)
    spec.option.timestep = TIMESTEP
    # On a diverging state MuJoCo would put the robot back at the origin, standing, and the episode would go on.
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    for geom in spec.geoms:
        geom.solimp[:3] = (0.8, 0.8, 0.01)
    _paint(spec)
    return spec.compile()


def _paint(spec: mujoco.MjSpec) -> None:
    """A floor without end in colors that tire no eye; Gymnasium's is a black and white mirror of 80 m.

    Physics does not see them: to it every plane is without end.
    """
    checkers, ground, floor = spec.texture("texplane"), spec.material("MatPlane"), spec.geom("floor")
    checkers.rgb1, checkers.rgb2 = SQUARES
    ground.reflectance, ground.specular, ground.shininess = 0.0, 0.0, 0.0
    ground.texuniform, ground.texrepeat = True, (1 / SQUARE, 1 / SQUARE)
    floor.size, floor.rgba = (0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0)
