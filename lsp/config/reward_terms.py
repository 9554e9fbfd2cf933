"""The text of `--layer-rewards`: a sum of terms with weights, such as `reward_forward+0.5*reward_ctrl`. No JAX here.

A term is one of

    env               the environment's own reward
    NAME              a number that the environment puts into `info` under this name
    MODULE:FUNCTION   function(observation, action, next_observation, info) -> float

`lsp.envs.rewards` computes them.
"""

import re
from typing import NamedTuple

OWN = "env"
FORM = "env, or terms with weights such as reward_forward+0.5*reward_ctrl, where a term may also be module:function"
_TERM = re.compile(
    r"\s*(?P<sign>[+-]?)\s*"
    r"((?P<weight>(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)\s*\*\s*)?"
    r"(?P<name>[A-Za-z_][\w./]*(:[A-Za-z_]\w*)?)\s*"
)


class Term(NamedTuple):
    """One term of a reward."""

    weight: float
    name: str


def parse(text: str) -> tuple[Term, ...]:
    """The terms that `text` names; an empty one names the environment's own. Raises ValueError."""
    terms: list[Term] = []
    position = 0
    while position < len(text.rstrip()):
        found = _TERM.match(text, position)
        if found is None or (terms and not found["sign"]):
            raise ValueError(f"{text!r} cannot be read from {text[position:].strip()!r} on")
        weight = float(found["weight"] or 1.0)
        terms.append(Term(-weight if found["sign"] == "-" else weight, found["name"]))
        position = found.end()
    return tuple(terms) or (Term(1.0, OWN),)


def readable(text: str) -> bool:
    """Whether `parse` can read `text`."""
    try:
        parse(text)
    except ValueError:
        return False
    return True
