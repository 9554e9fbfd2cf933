"""What a wheel holds: every package of `lsp`, and the files that setup.cfg names."""

from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def setup() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_module_lies_in_a_package_that_is_found(setup: ConfigParser) -> None:
    assert setup["options.packages.find"]["include"] == "lsp, lsp.*"
    folders = {path.parent for path in (ROOT / "lsp").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_package_data_exist_and_are_all_there_is(setup: ConfigParser) -> None:
    files: set[Path] = set()
    for package, patterns in setup["options.package_data"].items():
        for pattern in patterns.split(", "):
            found = set((ROOT / package.replace(".", "/")).glob(pattern))
            assert found, f"{package} has no {pattern}"
            files |= found
    others = {path for path in (ROOT / "lsp").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others == files
