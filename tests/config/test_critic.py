"""What kinds of critics go with what else."""

import dataclasses
from typing import Any

import pytest

from lsp.config import Config, ConfigError, CriticConfig, ReplayConfig, validate
from lsp.config.critic import support_warning


@pytest.mark.parametrize(
    ("critic", "message"),
    [
        ({"kind": "categorical", "v_min": 3.0, "v_max": 2.0}, "--critic.v-max=2.0: must be above --critic.v-min=3.0"),
        ({"target": "cdf_max"}, "--critic.target=cdf_max: must be min or mean, or add --critic.kind=categorical"),
        ({"target": "independent"}, "--critic.target=independent: must be min or mean, or add"),
        (
            {"distribution_target": "hl_gauss", "support": "symexp"},
            "--critic.support=symexp: must be even or adaptive with",
        ),
        ({"support": "adaptive", "v_min": 1.0}, "--critic.v-min=1.0: must be 0 or less, and --critic.v-max 0 or more"),
        (
            {"support": "adaptive", "distribution_target": "as_written"},
            "--critic.support=adaptive: must be even or symexp with",
        ),
        ({"target_min": 0.0, "target_max": -50.0}, "--critic.target-max=-50.0: must be above --critic.target-min=0.0"),
        ({"kind": "categorical", "target_max": 0.0}, "--critic.target-min=-inf: must be -inf, as --critic.target-max"),
        ({"target_min": float("nan")}, "--critic.target-min=nan: must be a number, inf or -inf"),
        ({"kind": "categorical", "num_atoms": 1}, "--critic.num-atoms=1: must be a whole number from 2"),
    ],
)
def test_what_does_not_go_together_is_named(critic: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Config(critic=CriticConfig(**critic)))
    assert str(caught.value).startswith(message)


def test_categorical_critics_allow_every_target_and_priorities_by_divergence() -> None:
    for target in ("min", "mean", "independent", "cdf_max"):
        validate(Config(critic=CriticConfig(kind="categorical", target=target)))
    replay = ReplayConfig(kind="prioritized", priority="kl")
    validate(Config(critic=CriticConfig(kind="categorical"), replay=replay))
    with pytest.raises(ConfigError, match=r"--replay.priority=kl: must be td or lap, or add --critic.kind=categorical"):
        validate(dataclasses.replace(Config(), replay=replay))


@pytest.mark.parametrize(("edge", "clipped", "says"), [(0.0, 5e-4, None), (0.02, 0.0, "2.0%"), (0.0, 0.3, "30.0%")])
def test_a_support_that_is_too_small_is_told(edge: float, clipped: float, says: str | None) -> None:
    warning = support_warning({"edge_mass": edge, "clip_rate": clipped})
    assert (warning is None) == (says is None)
    assert says is None or says in str(warning)
    assert support_warning({"q": 1.0}) is None
