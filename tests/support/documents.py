"""What documents show to type: shell commands and Python snippets, as they stand in Markdown.

A block in ```` ``` ```` without a language, or of `bash`, `sh`, `shell` or `console`, is shell where it begins with a
program; so is inline code that calls one of ours with arguments. `<!-- not executed: WHY -->` on the line above leaves
a block out, and is for what nobody can execute as it stands.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SHELLS = ("", "bash", "sh", "shell", "console")
PROGRAMS = ("python", "make", "pip", "pytest", "git", "cd", "cp", "export", "ray", "docker", "source", "mkdocs")
PROGRAM = re.compile(rf"(?:\$ )?(?:\w+=\S+ )*(?:\.venv/bin/)?(?:{'|'.join(PROGRAMS)})\b(?!\.)")
OURS = r"(?:\w+=\S+ )*(?:(?:\.venv/bin/)?python\s(?:-m\slsp\.\w+\s|\w+/\S+\.py)|make [a-z])"
INLINE = re.compile(rf"`({OURS}(?:[^`\n]|\n(?!\n))*)`")
FENCE = re.compile(r"(\s*)(`{3,})(\w*)")
LEFT_OUT = re.compile(r"<!-- not executed: .+ -->")
BY_HAND = ("README.md", "CONTRIBUTING.md", "runs/README.md", "docs/**/*.md")


class Shown(NamedTuple):
    """What is executed together: a block, or a piece of inline code."""

    page: str
    line: int
    kind: str  # shell or python
    lines: tuple[str, ...]  # commands; of a snippet its text alone

    @property
    def id(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """The documents; `docs/incoming` holds notes for those who write them."""
    found = sorted(path for pattern in BY_HAND for path in ROOT.glob(pattern))
    return [path for path in found if "incoming" not in path.parts]


def shown(kind: str) -> list[Shown]:
    """All of a kind in all documents; what is shown several times is found where it stands first."""
    everything = [each for path in pages() for each in read(path.read_text(), str(path.relative_to(ROOT)))]
    first = {each.lines: each for each in reversed(everything) if each.kind == kind}
    return sorted(first.values())


def read(text: str, page: str) -> Iterator[Shown]:
    """What one document shows."""
    lines, number, before = text.splitlines(), 0, ""
    prose = list(lines)
    while number < len(lines):
        begin, fence = number, FENCE.match(lines[number])
        number += 1
        if fence:
            while number < len(lines) and lines[number].strip() != fence[2]:
                number += 1
            if not LEFT_OUT.search(before):
                yield from _block(textwrap.dedent("\n".join(lines[begin + 1 : number])), fence[3], page, begin + 1)
            number += 1
            prose[begin:number] = [""] * len(lines[begin:number])
        before = lines[begin] or before
    prose_text = "\n".join(prose)
    for found in INLINE.finditer(prose_text):
        line = " ".join(found[1].replace(r"\|", "|").split())
        yield Shown(page, prose_text.count("\n", 0, found.start()) + 1, "shell", (line,))


def _block(body: str, language: str, page: str, line: int) -> Iterator[Shown]:
    if language == "python":
        yield Shown(page, line, "python", (body,))
    elif language in SHELLS and (PROGRAM.match(body) or language):
        whole = re.sub(r"\\\n\s*", "", body).splitlines()
        prompted = [each.removeprefix("$ ") for each in whole if each.startswith("$ ")]
        commands = [each for each in prompted or whole if each.strip() and not each.startswith("#")]
        yield Shown(page, line, "shell", tuple(commands))
