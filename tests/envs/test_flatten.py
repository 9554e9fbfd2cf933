"""Vectors of whatever is observed, in Gymnasium's own order; entries that are wrong have names."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from lsp.envs import checks, flatten
from lsp.envs.checks import Misfit
from lsp.envs.flatten import Reader
from tests.support.lying_env import Scalar

LINE = Box(-np.inf, np.inf, (3,), np.float64)
TABLE = Box(-1.0, 1.0, (2, 3), np.float32)
POINT = Box(-1.0, 1.0, (), np.float32)
NESTED = Dict(
    z=LINE,
    a=Dict(table=TABLE, whole=Box(0, 9, (2,), np.int64)),
    pair=Tuple((POINT, Dict(x=LINE))),
    gear=Discrete(4, start=1),
    lights=MultiBinary(3),
    switches=MultiDiscrete([2, 3]),
)
ORDERED = Dict(OrderedDict(z=LINE, a=POINT))
SPACES = [
    LINE,
    TABLE,
    POINT,
    Box(0, 1, (4,), np.int8),
    Box(0, 255, (5,), np.uint8),
    NESTED,
    ORDERED,
    Tuple((LINE, TABLE)),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_is_gymnasium_s_own_order(space: spaces.Space[Any]) -> None:
    space.seed(0)
    reader = Reader(space)
    assert flatten.problem(space) is None
    for _ in range(5):
        value = space.sample()
        vector = reader.read(value)
        assert vector.dtype == np.float32
        assert vector.shape == (reader.size,)
        np.testing.assert_array_equal(vector, spaces.flatten(space, value).astype(np.float32))


def test_shares_no_memory() -> None:
    for raw in (np.zeros(3), np.zeros(3, np.float32), [np.zeros(1, np.float32)] * 3):
        vector = Reader(LINE).read(raw)
        vector[:] = 1
        assert np.all(np.asarray(raw) == 0)


@pytest.mark.parametrize(
    "raw",
    [
        [1.0, 2.0, 3.0],
        (1, 2, 3),
        np.array([[1], [2], [3]]),
        np.array([1, 2, 3], object),
        np.array([1, 2, 3], np.float16),
        [np.float32(1), np.array(2), 3],
        Scalar([1, 2, 3]),
    ],
    ids=repr,
)
def test_what_can_be_used(raw: Any) -> None:
    assert Reader(LINE).read(raw).tolist() == [1, 2, 3]


def test_rows_of_a_table() -> None:
    assert Reader(TABLE).read(np.arange(6.0)).tolist() == [0, 1, 2, 3, 4, 5]
    assert Reader(TABLE).read(np.arange(6.0).reshape(2, 3)).tolist() == [0, 1, 2, 3, 4, 5]
    assert Reader(Box(-9, 9, (6,))).read(np.arange(6.0).reshape(2, 3)).tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(Misfit, match=r"shape \(3, 2\)"):
        Reader(TABLE).read(np.arange(6.0).reshape(3, 2))


@pytest.mark.parametrize(
    ("raw", "what", "wanted"),
    [
        (np.zeros(4), "an observation of shape (4,)", "3 numbers of shape (3,) were declared"),
        (np.zeros((3, 3)), "an observation of shape (3, 3)", "3 numbers"),
        ([1.0, [2.0], 3.0], "observation [1.0, [2.0], 3.0]", "3 numbers"),
        (None, "observation None", "3 numbers"),
        ("abc", "observation 'abc'", "3 numbers"),
        (["1", "2", "3"], "observation of dtype <U1 (entry 0 is '1')", "3 numbers"),
        (np.array([1, "2", 3], object), "an observation whose entry 1 is '2'", "3 numbers"),
        (np.array([1, 2j, 3]), "observation of dtype complex128", "3 numbers"),
        ({"x": 1}, "observation {'x': 1}", "3 numbers"),
        ([1.0, np.nan, np.inf], "2 of 3 observation entries not finite (entry 1 is nan)", ""),
        ([0.0, 0.0, -1e39], "1 of 3 observation entries beyond float32 (entry 2 is -1e+39)", "float32, in which"),
        (np.array([0, 0, 10**400], object), "1 of 3 observation entries not finite (entry 2 is inf)", ""),
    ],
    ids=checks.shown,
)
def test_what_cannot_be_used(raw: Any, what: str, wanted: str) -> None:
    with pytest.raises(Misfit) as caught:
        Reader(LINE).read(raw)
    assert caught.value.what.startswith(what)
    assert caught.value.wanted.startswith(wanted)


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in NESTED.sample().items() if name != key}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"z": np.zeros(2)}, "observation['z'] of shape (2,)"),
        ({"a": {"table": TABLE.sample()}}, "an observation['a'] without 'whole'"),
        ({"a": 5}, "observation['a'] 5"),
        ({"pair": (0.5,)}, "observation['pair'] (0.5,)"),
        (
            {"pair": (0.5, {"x": np.array([0, 0, np.nan])})},
            "not finite (entry 2 of observation['pair'][1]['x'] is nan)",
        ),
        ({"z": np.array([0, 1e39, 0])}, "beyond float32 (entry 1 of observation['z'] is 1e+39)"),
        ({"gear": 5}, "observation['gear'] 5"),
        ({"gear": None}, "observation['gear'] None"),
        ({"gear": 1.5}, "observation['gear'] 1.5"),
        ({"switches": [1]}, "observation['switches'] [1]"),
        ({"lights": "red"}, "observation['lights'] 'red'"),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else "",
)
def test_parts_have_names(change: dict[str, Any], what: str) -> None:
    NESTED.seed(1)
    with pytest.raises(Misfit) as caught:
        Reader(NESTED).read(NESTED.sample() | change)
    assert what in caught.value.what


def test_a_missing_key() -> None:
    with pytest.raises(Misfit, match="an observation without 'gear'") as caught:
        Reader(NESTED).read(without("gear"))
    assert caught.value.wanted == "it has z, a, pair, lights, switches"
    with pytest.raises(Misfit, match="observation array"):
        Reader(NESTED).read(np.zeros(3))


def test_chosen_keys_in_their_order() -> None:
    reader = Reader(ORDERED, ("a", "z"))
    assert reader.read({"z": np.array([1.0, 2.0, 3.0]), "a": 0.5}).tolist() == [0.5, 1, 2, 3]


@pytest.mark.parametrize("limit", [np.float32, np.float64])
def test_large_numbers_whose_sum_overflows(limit: Any) -> None:
    with np.errstate(over="ignore"):
        assert Reader(LINE).read(np.full(3, 3e38, limit)).tolist() == np.full(3, 3e38, np.float32).tolist()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Discrete(3), "Discrete observations"),
        (spaces.Text(3), "Text observations"),
        (Box(0, 255, (8, 8, 3), np.uint8), "image observations (8, 8, 3)"),
        (Box(0, 255, (84, 84), np.uint8), "image observations (84, 84)"),
        (Box(0, 1, (64, 64, 3), np.float32), "image observations (64, 64, 3)"),
        (Box(0, 1, (4, 64, 64), np.float32), "image observations (4, 64, 64)"),
        (Dict(joints=LINE, camera=Box(0, 255, (8, 8, 3), np.uint8)), "Dict observations: camera: image observations"),
        (Dict(a=Dict(b=spaces.Text(3))), "Dict observations: a.b: Text is not supported"),
        (Tuple((LINE, Discrete(3))), "Tuple observations: 1: Discrete is not supported"),
        (Dict(), "Dict observations: observations without any number"),
        (Box(0, 1, (0,)), "observations without any number"),
    ],
    ids=str,
)
def test_spaces_that_are_not_supported(space: spaces.Space[Any], message: str) -> None:
    assert str(flatten.problem(space)).startswith(message)


@pytest.mark.parametrize("shape", [(2, 3, 4), (4, 4, 2), (3, 5, 4), (2, 2, 2, 2), (100, 100)])
def test_boxes_of_any_shape_that_are_no_pictures(shape: tuple[int, ...]) -> None:
    assert flatten.problem(Box(-1.0, 1.0, shape, np.float32)) is None
    assert Reader(Box(-1.0, 1.0, shape, np.float32)).size == np.prod(shape)
