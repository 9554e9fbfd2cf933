"""Python values become what one would type, and the command line reads them back as they were."""

import math
from typing import Any

import numpy as np
import pytest

from lsp import cli
from lsp.api.flags import ELSEWHERE, arguments
from lsp.config import ConfigError, schema


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("critic.tau", 0.1 + 0.2, 0.1 + 0.2),
        ("critic.learning-rate", np.float32(0.5), 0.5),
        ("steps", 3e5, 300_000),
        ("steps", np.int64(20_000), 20_000),
        ("steps", "300k", 300_000),
        ("flow.hidden_sizes", (256, 128), (256, 128)),
        ("flow.hidden_sizes", np.array([8, 4]), (8, 4)),
        ("flow.hidden_sizes", 7, (7,)),
        ("flow.max_log_scale", math.inf, math.inf),
        ("normalize.rewards", True, True),
        ("normalize.observations", np.bool_(False), False),
        ("env_kwargs", {"a": [1, "="], "b": None}, '{"a": [1, "="], "b": null}'),
        ("evaluation.protocols", ["mode"], ("mode",)),
        ("env", "a:b --c=d\n", "a:b --c=d\n"),
    ],
)
def test_a_value_arrives(name: str, value: Any, field: Any) -> None:
    command = cli.parse(arguments({name: value}))
    assert schema.flatten(command.config)[name.replace("-", "_")] == field


def test_seeds_may_be_numbers() -> None:
    assert cli.parse(arguments({"seeds": range(2, 5)})).seeds == [2, 3, 4]
    assert cli.parse(arguments({"seeds": [7, 3]})).seeds == [7, 3]
    assert cli.parse(arguments({"seeds": 2, "seed": 5})).seeds == [5, 6]


def test_none_is_not_given() -> None:
    assert arguments({"steps": None, "seed": 0}) == ["--seed=0"]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_flags_that_are_no_arguments_say_what_to_do(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is no argument here: .*(lsp.load|python -m lsp.run)"):
        arguments({name: True})


def test_what_json_cannot_hold() -> None:
    with pytest.raises(ConfigError, match=r"^--env-kwargs=\{'a': .*must be what JSON can hold"):
        arguments({"env_kwargs": {"a": object()}})
