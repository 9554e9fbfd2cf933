"""Names from elsewhere lead to flags that exist."""

from itertools import chain

import pytest

from lsp import cli
from lsp.config import Config, habits, schema
from lsp.config.habits import HABITS, ROWS

FIELDS = schema.kinds(cli.RunOptions) | schema.kinds(Config)
# What users of Stable-Baselines3, CleanRL and others were seen to type.
TYPED = """
    total-timesteps total-steps timesteps num-timesteps lr n-envs num-envs buffer-size num-seeds env-id algo
    gradient-steps train-freq ent-coef policy device cuda wandb-project-name capture-video save-model eval-freq
    n-eval-episodes n-steps verbose
"""


def test_what_is_named_exists() -> None:
    named = set(chain.from_iterable(habit.fields for habit in HABITS.values()))
    assert named <= FIELDS.keys()


def test_no_name_is_one_of_ours_or_given_twice() -> None:
    names = " ".join(names for names, _, _ in ROWS).split()
    assert len(set(names)) == len(names)
    assert not set(names) & FIELDS.keys()


@pytest.mark.parametrize("name", TYPED.split())
def test_known(name: str) -> None:
    assert habits.hint(name.replace("-", "_"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("total_timesteps", "here it is --steps"),
        ("critic.lr", "here it is --critic.learning-rate"),
        ("optim.lr", "here it is --policy.learning-rate, --critic.learning-rate or --temperature.learning-rate"),
        ("ent_coef", "here it is --temperature.initial (fixed with --no-temperature.learned)"),
        ("no_autotune", "here it is --temperature.learned"),
        ("video", "python -m lsp.video RUN films a run, now or later"),
        ("steps", ""),
        ("", ""),
    ],
)
def test_hints(name: str, hint: str) -> None:
    assert habits.hint(name) == hint
