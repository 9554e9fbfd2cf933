"""The skill and the maze: the ant's body, other rewards, a goal that is saved with the rest."""

from collections.abc import Iterator

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lsp import envs
from lsp.envs.ant_tasks import GOALS, OUTLINE, CrossMazeAntEnv, MultiDirectionAntEnv, walls
from lsp.envs.rllab_ant import RllabAntEnv


@pytest.fixture
def maze() -> Iterator[CrossMazeAntEnv]:
    env = CrossMazeAntEnv()
    env.reset(seed=0)
    yield env
    env.close()


def place(env: RllabAntEnv, x: float, y: float) -> None:
    """Put the ant at rest, in its initial pose."""
    qpos = env.data.qpos.copy()
    qpos[:3], qpos[3:7] = (x, y, 0.55), (1, 0, 0, 0)
    env.set_state(qpos, np.zeros(14))


@pytest.mark.parametrize("name", ["lsp/MultiDirectionAnt-v0", "lsp/CrossMazeAnt-v0"])
def test_registered_for_everyone(name: str) -> None:
    env = envs.make(name)
    assert env.observation_space.shape == ((125,) if "Multi" in name else (127,))
    assert env.spec is not None
    assert env.spec.max_episode_steps == 1000
    assert envs.can_restore(env)
    env.close()


@pytest.mark.filterwarnings("ignore")  # advice on infinite bounds
@pytest.mark.parametrize("kind", [MultiDirectionAntEnv, CrossMazeAntEnv])
def test_gymnasium_s_checker_passes(kind: type[RllabAntEnv]) -> None:
    env = kind()
    check_env(env, skip_render_check=True)
    env.close()


def test_speed_counts_in_any_direction() -> None:
    """On the same path, the reward differs from the runner's by |v_xy| - v_x."""
    plain, skill = RllabAntEnv(), MultiDirectionAntEnv()
    plain.reset(seed=1)
    skill.reset(seed=1)
    rng = np.random.default_rng(0)
    for action in rng.uniform(-1, 1, (20, 8)):
        (one, runs, *_), (other, moves, *_, info) = plain.step(action), skill.step(action)
        np.testing.assert_array_equal(one, other)
        v = skill.data.subtree_linvel[1, :2]
        assert moves - runs == pytest.approx(np.linalg.norm(v) - v[0], abs=1e-9)
        assert info["x_velocity"] == pytest.approx(v[0])
    assert abs(v[1]) > 1e-3


def test_the_maze_is_seen_as_by_the_lower_layer(maze: CrossMazeAntEnv) -> None:
    """The goal comes after the ant's own observation, which far from walls is the ant's on open ground."""
    plain = RllabAntEnv()
    plain.reset(seed=1)
    for env in (plain, maze):
        env.set_state(plain.init_qpos.copy(), np.zeros(14))
        env.data.qacc_warmstart[:] = 0
    for action in np.random.default_rng(0).uniform(-1, 1, (10, 8)):
        np.testing.assert_allclose(maze.step(action)[0][:125], plain.step(action)[0], atol=1e-9)
    np.testing.assert_array_equal(maze.step(action)[0][125:], maze.data.userdata)


def test_goals_are_the_three(maze: CrossMazeAntEnv) -> None:
    found = {tuple(maze.reset(seed=seed)[0][125:]) for seed in range(20)}
    assert found == set(GOALS)


def test_the_reward_is_at_the_goal_alone_and_ends_the_episode(maze: CrossMazeAntEnv) -> None:
    rest = np.zeros(8)
    for goal in GOALS:
        maze.data.userdata[:] = goal
        place(maze, goal[0] - 2.1, goal[1])
        assert maze.step(rest)[1:3] == (0.0, False)
        place(maze, goal[0] - 1.9, goal[1])
        _, reward, terminated, truncated, info = maze.step(rest)
        assert (reward, terminated, truncated, info["success"]) == (1000.0, True, False, 1.0)
        assert info["goal_distance"] == pytest.approx(1.9, abs=0.02)
    place(maze, 0, 0)
    maze.data.qpos[2] = 1.5
    assert maze.step(rest)[1:3] == (0.0, True)


def test_walls_stand_around_the_free_ground(maze: CrossMazeAntEnv) -> None:
    boxes = list(walls())
    assert len(boxes) == len(OUTLINE) == 12
    inside = [(x, y) for x in np.arange(-1.9, 14, 0.4) for y in np.arange(-7.9, 8, 0.4) if abs(y) < 2 or 4 < x < 8]
    for center, half in boxes:
        assert all(np.any(np.abs(np.array(point) - center[:2]) > half[:2]) for point in inside)
    place(maze, 0, 0)
    ground = [contact for contact in maze.data.contact if contact.dist < 0]
    place(maze, -1.6, 0)  # its legs are 1 m long
    assert len([contact for contact in maze.data.contact if contact.dist < 0]) > len(ground)


def test_a_saved_maze_goes_on_with_its_goal() -> None:
    one, other = (envs.make("lsp/CrossMazeAnt-v0") for _ in range(2))
    one.reset(seed=3)
    other.reset(seed=4)
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 8)).astype(np.float32)
    for action in actions[:5]:
        one.step(action)
    envs.set_state(other, envs.get_state(one))
    for action in actions[5:]:
        first, second = one.step(action), other.step(action)
        np.testing.assert_array_equal(first[0], second[0])
        assert first[1:] == second[1:]
