"""Shapes against their closed forms, in pixels."""

import numpy as np
import pytest

from lsp.envs import drawing

PIXELS, REACH = 64, 2.0
POSITIONS = drawing.plane(PIXELS, REACH)


def test_the_plane_has_x_to_the_right_and_y_up() -> None:
    assert POSITIONS.shape == (PIXELS, PIXELS, 2)
    half = REACH / PIXELS
    np.testing.assert_allclose(POSITIONS[0, 0], [-REACH + half, REACH - half])
    np.testing.assert_allclose(POSITIONS[-1, 0], [-REACH + half, -REACH + half])


def test_a_disc_is_a_distance_less_its_radius() -> None:
    found = drawing.disc(np.array([[3.0, 4.0], [0.0, 0.5]]), np.zeros(2), 1.0)
    np.testing.assert_allclose(found, [4.0, -0.5])


def test_a_rod_has_round_ends() -> None:
    points = np.array([[0.5, 0.3], [-3.0, 4.0], [4.0, 0.0], [0.5, 0.0]])
    found = drawing.rod(points, np.zeros(2), np.array([1.0, 0.0]), 0.1)
    np.testing.assert_allclose(found, [0.2, 4.9, 2.9, -0.1])


def test_what_is_painted_covers_its_area_and_no_more() -> None:
    picture = np.zeros((PIXELS, PIXELS, 3))
    drawing.paint(picture, drawing.disc(POSITIONS, np.zeros(2), 1.0), (100, 200, 50), 2 * REACH / PIXELS)
    assert picture[PIXELS // 2, PIXELS // 2].tolist() == [100, 200, 50]
    assert not picture[0].any()
    area = picture[..., 0].sum() / 100 * (2 * REACH / PIXELS) ** 2
    assert area == pytest.approx(np.pi, rel=0.01)


def test_a_goal_is_a_disc_on_the_ground_and_green_when_met() -> None:
    disc = drawing.goal_disc((3.0, -2.0), 0.5, met=False)
    np.testing.assert_allclose(disc["pos"], [3, -2, drawing.PLATE])
    assert disc["size"][0] == 0.5
    np.testing.assert_allclose(disc["rgba"][:3] * 255, drawing.GOAL, atol=1e-4)
    np.testing.assert_allclose(drawing.goal_disc((0, 0), 1.0, met=True)["rgba"][:3] * 255, drawing.MET, atol=1e-4)


@pytest.mark.parametrize("vector", [(1.0, 0.0), (0.0, -2.0), (-0.3, 0.4), (0.0, 0.0)])
def test_an_arrow_points_along_its_vector(vector: tuple[float, float]) -> None:
    """MuJoCo's arrow points along z of its frame, which is a rotation."""
    arrow = drawing.goal_arrow((1.0, 2.0, 3.0), vector, met=False)
    frame = arrow["mat"].reshape(3, 3)
    np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame) == pytest.approx(1)
    np.testing.assert_allclose(arrow["size"][2] * frame[:, 2], [*vector, 0], atol=1e-12)
    np.testing.assert_allclose(arrow["pos"], [1, 2, 3])
