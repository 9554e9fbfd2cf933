"""Stages of a run: what the flags about layers mean, and what they refuse."""

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lsp import cli
from lsp.config import Config, ConfigError, GrowthConfig, dissertation, from_dict, stages, to_dict, validate


def test_one_layer_is_the_run_as_it_was() -> None:
    assert stages.of_stage(Config(), 0, 0) == Config()
    assert stages.boundaries(Config()) == (Config().steps,)
    assert validate(Config()) == Config()


@pytest.mark.parametrize(
    ("flags", "steps", "layer_steps", "boundaries"),
    [
        (["--layers=2", "--layer-steps=300_000,200_000"], 500_000, (300_000, 200_000), (300_000, 500_000)),
        (["--layers=2", "--layer-steps", "30", "20"], 50, (30, 20), (30, 50)),
        (["--layers=2", "--layer-steps=0,20"], 20, (0, 20), (0, 20)),
        (["--layers=3", "--steps=100"], 100, (33, 33, 34), (33, 66, 100)),
        (["--layer-steps=70"], 70, (70,), (70,)),
    ],
)
def test_steps_of_layers(flags: list[str], steps: int, layer_steps: tuple[int, ...], boundaries: Any) -> None:
    config = validate(cli.parse(flags).config)
    assert (config.steps, config.layer_steps) == (steps, layer_steps)
    assert stages.boundaries(config) == boundaries


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layers=2", "--layer-steps=30,20,10"], "--layer-steps=30,20,10: must be one number for each of --layers=2"),
        (["--layers=2", "--layer-steps=30"], "--layer-steps=30: must be one number for each of --layers=2, such as"),
        (["--layer-steps=30,20"], "--layer-steps=30,20: must be one number for each of --layers=1"),
        (["--layers=2", "--layer-steps=30,0"], "--layer-steps=30,0: must be above 0 for the last layer"),
        (["--layers=2", "--layer-steps=30,20", "--steps=60"], "numbers that add up to --steps=60, not 50"),
        (["--layers=2", "--layer-steps=many,20"], "--layer-steps=many: must be a whole number"),
        (["--layers=0"], "--layers=0: must be a whole number from 1"),
        (["--layers=2", "--critic.space=layer"], "--growth.keep-critics=true: must be false, or add --critic.space"),
        (["--layers=3", "--layer-rewards=a,env"], "--layer-rewards=a,env: must be one for each of --layers=3, such as"),
        (["--layer-rewards=a,env"], "--layer-rewards=a,env: must be one for each of --layers=1, such as a"),
        (["--layers=2", "--layer-rewards=a+*b,"], "; 'a+*b' cannot be read"),
        (["--agent=hindsight", "--layer-rewards=a"], "--layer-rewards=a: must be env with --goals.kind=hindsight"),
        (["--growth.entropy=acton"], "did you mean action"),
    ],
)
def test_what_does_not_go_together(flags: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(cli.parse(flags).config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_study_s_second_layer() -> None:
    """Scale 3 and a linear embedding, from initial values as random as the first layer's."""
    first, second = (stages.of_stage(dissertation(Config()), n, n) for n in range(2))
    assert (first.reward_scale, second.reward_scale) == (10.0, 3.0)
    assert (first.flow.linear_embedding, second.flow.linear_embedding) == (False, True)
    assert not second.flow.zero_init
    assert validate(dataclasses.replace(dissertation(Config()), layers=2)).layers == 2


def test_a_modern_second_layer_begins_as_the_identity_and_without_random_actions() -> None:
    config = dataclasses.replace(Config(), flow=dataclasses.replace(Config().flow, zero_init=False))
    second = stages.of_stage(config, 1, 1)
    assert second.flow.zero_init
    assert second == dataclasses.replace(Config(), warmup_steps=0)


def test_a_flat_policy_goes_on_at_the_upper_scale() -> None:
    growth = GrowthConfig(add_layer=False, reward_scale=3.0)
    second = stages.of_stage(Config(growth=growth), 1, 0)
    assert second == Config(growth=growth, reward_scale=3.0, warmup_steps=0)


def test_a_longer_run_trains_its_last_layer_longer() -> None:
    values = to_dict(validate(Config(layers=2, steps=50, layer_steps=(30, 20))))
    assert stages.extended(values, 70)["layer_steps"] == [30, 40]
    assert stages.extended(to_dict(Config()), 70)["layer_steps"] == [0]


def test_every_field_says_what_it_is() -> None:
    tree = ast.parse(Path(stages.__file__).read_text())
    for record in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for statement, following in zip(record.body, [*record.body[1:], ast.Pass()], strict=True):
            if isinstance(statement, ast.AnnAssign) and "Config" not in ast.unparse(statement.annotation):
                assert isinstance(following, ast.Expr), ast.unparse(statement)


def test_rewards_of_layers() -> None:
    """Nothing stands for the environment's own; what was learned of another reward is not kept."""
    config = validate(cli.parse(["--layers=3", "--layer-rewards=2*speed, ,env"]).config)
    assert config.layer_rewards == ("2*speed", "env", "env")
    assert from_dict(to_dict(config)) == config
    assert [stages.reward_of(config, stage) for stage in range(3)] == ["2*speed", "env", "env"]
    assert [stages.keeps_reward(config, stage) for stage in range(3)] == [True, False, True]
    second, third = (stages.at_growth(config, stage) for stage in (1, 2))
    assert third == config
    growth = dataclasses.replace(config.growth, keep_replay=False, keep_critics=False)
    assert second == dataclasses.replace(config, growth=growth)
    same = validate(Config(layers=2, layer_rewards=("a+0.5*b", " a + .5*b ")))
    assert stages.at_growth(same, 1) == same
    assert stages.reward_of(validate(Config(layers=2)), 1) == "env"
