"""What a programme says, and what is wrong with one that cannot be."""

from pathlib import Path

import pytest

from lsp.config import ConfigError
from lsp.grid import programme
from lsp.grid.programme import Arm

ROOT = Path(__file__).parents[2]


def read(folder: Path, text: str) -> list[Arm]:
    (folder / "p.toml").write_text(text)
    return programme.read(folder / "p.toml")


def test_what_stands_above_is_of_every_arm_that_does_not_say_otherwise(tmp_path: Path) -> None:
    arms = read(
        tmp_path,
        """
        flags = '''
            --steps=300 --critic.loss=mse   # comments and lines of flags
            --env-kwargs='{"a": 1}'
        '''
        seeds = "1:6"
        [arms]
        base = ""
        huber = "--critic.loss=huber"
        long = {flags = "--utd=0.5", seeds = 3, together = true}
        """,
    )
    shared, kwargs = ["--steps=300", "--critic.loss=mse"], '--env-kwargs={"a": 1}'
    assert arms == [
        Arm("base", [*shared, kwargs, "--seeds=1:6"], (), False),
        Arm("huber", ["--steps=300", kwargs, "--critic.loss=huber", "--seeds=1:6"], (), False),
        Arm("long", [*shared, kwargs, "--utd=0.5", "--seeds=3"], (), True),
    ]


@pytest.mark.parametrize(("steps", "expected"), [("200", (200,)), ("[100, 200]", (100, 200))])
def test_steps(steps: str, expected: tuple[int, ...], tmp_path: Path) -> None:
    assert read(tmp_path, f"steps = {steps}\n[arms]\na = ''")[0].steps == expected


@pytest.mark.parametrize(
    ("flags", "by", "left"),
    [
        (["--a=1", "--b=2"], ["--a=3"], ["--b=2"]),
        (["--no-critic.layer-norm"], ["--critic.layer_norm=true"], []),
        (["--critic.no-layer-norm", "--normalize.rewards"], ["--critic.layer-norm"], ["--normalize.rewards"]),
    ],
)
def test_a_flag_replaces_itself_however_it_is_written(flags: list[str], by: list[str], left: list[str]) -> None:
    assert programme.replaced(flags, by) == [*left, *by]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("flags = ", "is not TOML"),
        ("seeds = 3", "has no arms: write a line such as"),
        ("[arms]", "has no arms"),
        ("flgs = ''\n[arms]\na = ''", "unknown key flgs: did you mean flags?"),
        ("[arms]\na = 3", "arm a: must be flags of lsp.run in one text, or a table of flags, seeds, steps or together"),
        ("[arms.a]\nseed = 1", "arm a: unknown key seed: did you mean seeds?"),
        ("[arms]\n'a/b' = ''", "arm a/b: letters, digits"),
        ("[arms]\n'..' = ''", "arm ..: letters, digits"),
        ("[arms]\na = 'x'", "arm a: unexpected 'x' among the flags"),
        ("""[arms]\na = "--x='" """, "arm a: flags cannot be read"),
        ("steps = 0\n[arms]\na = ''", "steps must be a number of environment steps, or a list"),
        ("steps = [2, 1]\n[arms]\na = ''", "each above the one before"),
        ("steps = [true]\n[arms]\na = ''", "steps must be"),
        ("seeds = true\n[arms]\na = ''", "seeds must be a count"),
        ("together = 1\n[arms]\na = ''", "together must be true or false"),
        ("steps = 3\n[arms]\na = '--steps=4'", "arm a: steps is given twice"),
        ("seeds = 3\n[arms]\na = '--seeds=4'", "arm a: seeds is given twice"),
    ],
)
def test_refused(text: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert part in str(caught.value)
    assert "p.toml" in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        programme.read(tmp_path / "none.toml")


@pytest.mark.parametrize("path", sorted((ROOT / "runs" / "programmes").glob("*.toml")), ids=lambda path: path.stem)
def test_ours_can_be_read(path: Path) -> None:
    assert all(arm.flags and arm.steps for arm in programme.read(path))
