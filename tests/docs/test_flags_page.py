"""The reference of flags is today's, has every flag once, and is generated without JAX."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lsp import cli
from lsp.agents import presets
from lsp.config import Config, schema

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "reference_pages.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def page(script: dict[str, Any]) -> str:
    text: str = script["flags_page"]()
    return text


def test_the_page_is_up_to_date(script: dict[str, Any], page: str) -> None:
    assert script["FLAGS"].read_text() == page, f"flags have changed: run python {SCRIPT.relative_to(ROOT)}"


def test_every_flag_has_an_entry(page: str) -> None:
    entries = re.findall(r"^#### `(--\S+)`$", page, re.MULTILINE)
    flags = [schema.flag(name) for name in schema.kinds(cli.RunOptions) | schema.kinds(Config)]
    assert sorted(entries) == sorted(flags)
    assert len(re.findall(r"^\*Values:\* \S.*\. \*Default:\* \S.*\.$", page, re.MULTILINE)) == len(flags)


def entry(page: str, flag: str) -> str:
    return page.partition(f"#### `{flag}`\n\n")[2].partition("\n##")[0].strip()


def test_what_an_entry_says(page: str) -> None:
    assert entry(page, "--n-step").endswith(
        "*Values:* a whole number from 1 to 2147483647. *Default:* `3`; `1` with `--preset=dissertation`."
    )
    assert entry(page, "--gamma") == (
        "Discount per step, in [0, 1).\n\n*Values:* a number in [0, 1). *Default:* `0.99`."
    )
    assert "sac_lsp, prioritized" in entry(page, "--agent")
    assert entry(page, "--from-layers").endswith("*Default:* empty.")
    assert "(an extra: `python -m pip install -e '.[ray]'`)" in entry(page, "--executors.engine")


def test_what_agents_change(page: str) -> None:
    (row,) = [line for line in page.splitlines() if line.startswith("| `hindsight` |")]
    changed = re.findall(r"`--([\w.-]+)=(\S+)`", row.split("|")[2])
    base, own = (schema.flatten(presets(name)) for name in ("sac_lsp", "hindsight"))
    differ = {name: schema.to_text(value) for name, value in own.items() if value != base[name] and name != "agent"}
    assert {name.replace("-", "_"): value for name, value in changed} == differ


def test_text_becomes_markdown(script: dict[str, Any]) -> None:
    text = "as `--a=1`,\n or --b.c-d=2, a*b (python -m pip install -e '.[x]')"
    expected = r"as `--a=1`, or `--b.c-d=2`, a\*b (`python -m pip install -e '.[x]'`)"
    assert script["_marked"](text) == expected


def test_no_jax() -> None:
    code = f"import runpy, sys; runpy.run_path({str(SCRIPT)!r}); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
