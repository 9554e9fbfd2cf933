"""Write the reference of flags: `python docs/reference_pages.py` rewrites docs/reference/flags.md.

Names, meanings, values and defaults come from the dataclasses of the configuration, as those of `--help` do. A test
fails where the page is out of date. No JAX here.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from lsp.agents import AGENTS, presets
from lsp.cli import RunOptions, docs_of
from lsp.config import Config, Preset, schema
from lsp.config.stages import LayersConfig

FLAGS = Path(__file__).parent / "reference" / "flags.md"

INTRODUCTION = """\
# Flags

Every flag of `python -m lsp.run`, with its meaning, the values that it takes, and its default. The option `--help`
prints the same with the defaults of the agent and the preset that are given with it.

A flag is written `--name=value` or `--name value`; `-` and `_` mean the same. Whole numbers may be written `1_000_000`,
`1e6`, `1000k` or `1M`. Lists have commas, such as `256,256`. A switch is written `--name`, `--no-name` or
`--name=false`. In Python, in `config.json` and in error messages a flag has the name of its field, such as
`replay.batch_size`. A flag or a value that cannot be ends the command in one line, before anything is written.

Defaults depend on the preset: `modern`, which is used unless you say otherwise, and `dissertation`
(`--preset=dissertation`), which has the choices of the dissertation "Extending SAC-LSP" (2018). Where one default is
given, it is that of both.

This page is generated from the source by `python docs/reference_pages.py`.
"""


def flags_page() -> str:
    """The page of flags, as Markdown."""
    layers = {name: kind for name, kind in get_type_hints(LayersConfig).items() if not is_dataclass(kind)}
    parts = [INTRODUCTION, "\n## What an agent changes\n", _of_agents()]
    parts += ["\n## The command itself\n", *_entries(RunOptions, "")]
    parts += ["\n## The run\n", *_entries(Config, "", without=layers), "\n## Layers\n", *_entries(LayersConfig, "")]
    for name, kind in get_type_hints(Config).items():
        if is_dataclass(kind):
            parts += [f"\n## {name.capitalize()}\n\n{_marked(kind.__doc__ or '')}\n", *_entries(kind, f"{name}.")]
    return "".join(parts)


def _of_agents() -> str:
    """A table of what each agent sets beside the base agent's defaults, in both presets."""
    rows = ["| agent | with `modern` | with `dissertation` |\n|---|---|---|\n"]
    for agent in AGENTS:
        changed = (_changes(agent, preset) for preset in get_args(Preset))
        rows.append(f"| `{agent}` | {' | '.join(' '.join(each) or 'nothing' for each in changed)} |\n")
    return "\n" + "".join(rows)


def _changes(agent: str, preset: str) -> Iterator[str]:
    base, own = (schema.flatten(presets(name, preset)) for name in ("sac_lsp", agent))
    for name, value in own.items():
        if value != base[name] and name != "agent":
            yield f"`{schema.flag(name)}={schema.to_text(value)}`"


def _entries(record: Any, prefix: str, without: Collection[str] = ()) -> Iterator[str]:
    """An entry for each field of a dataclass, without those of the dataclasses inside it."""
    docs = docs_of(record)
    for name, kind in get_type_hints(record, include_extras=True).items():
        if not is_dataclass(kind) and name not in without:
            default = _default(record, prefix + name)
            values = schema.one_of(AGENTS) if name == "agent" else schema.describe(kind)
            yield f"\n#### `{schema.flag(prefix + name)}`\n\n{_marked(docs[name])}\n"
            yield f"\n*Values:* {values}. *Default:* {default}.\n"


def _default(record: Any, name: str) -> str:
    if record is RunOptions:
        return _shown(schema.flatten(RunOptions())[name])
    modern, study = (_shown(schema.flatten(presets("sac_lsp", preset))[name]) for preset in get_args(Preset))
    return modern if modern == study or name == "preset" else f"{modern}; {study} with `--preset=dissertation`"


def _shown(value: Any) -> str:
    return f"`{text}`" if (text := schema.to_text(value)) else "empty"


def _marked(text: str) -> str:
    """A docstring as a line of Markdown, with flags and commands as code."""
    code = r"`[^`]*`|python -m pip install -e '[^']*'|--[a-z][\w.-]*[a-z](?:=[\w:.]*\w)?|\*"
    return re.sub(code, _as_code, " ".join(text.split()))


def _as_code(found: re.Match[str]) -> str:
    text = found[0]
    if text.startswith("`"):
        return text
    return r"\*" if text == "*" else f"`{text}`"


if __name__ == "__main__":
    FLAGS.parent.mkdir(exist_ok=True)
    FLAGS.write_text(flags_page())
    print(f"wrote {FLAGS.relative_to(Path.cwd()) if FLAGS.is_relative_to(Path.cwd()) else FLAGS}")
