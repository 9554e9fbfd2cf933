"""What a project carries agrees with setup.cfg and with the tree: citation, changelog, image, versions."""

import re
from configparser import ConfigParser
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg")
VERSION = SETUP["metadata"]["version"]
PYTHONS = re.findall(r"Python :: (3\.\d+)", SETUP["metadata"]["classifiers"])


def test_citation() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == VERSION
    assert citation["license"] == SETUP["metadata"]["license"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    works = {each["title"]: each for each in citation["references"]}
    assert {each["year"] for each in works.values()} == {2018}
    assert all(each["authors"] and each["type"] and each["url"] for each in works.values())


def test_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## ([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == VERSION


def test_the_same_versions_of_python_everywhere() -> None:
    assert SETUP["options"]["python_requires"] == f">={PYTHONS[0]}"
    tested = re.search(r"^supported=\((.*)\)", (ROOT / "tests" / "versions.sh").read_text(), re.MULTILINE)
    assert tested
    assert tested[1].split() == PYTHONS
    image = re.search(r"^FROM python:([\d.]+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert image
    assert image[1] in PYTHONS


def test_the_quick_tests_exist() -> None:
    paths = re.findall(r"tests/\S+?(?=[\s)])", (ROOT / "tests" / "versions.sh").read_text().partition("quick=")[2])
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_image_is_made_of_what_is_there() -> None:
    """And of nothing that .dockerignore leaves out."""
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert names == kept
    assert [name for name in names if not (ROOT / name).exists()] == []
