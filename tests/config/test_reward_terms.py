"""The text of `--layer-rewards`."""

import pytest

from lsp.config.reward_terms import Term, parse, readable


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", [(1, "env")]),
        ("env", [(1, "env")]),
        ("reward_forward", [(1, "reward_forward")]),
        (" a + .5 * b-2e-3*c_1/d ", [(1, "a"), (0.5, "b"), (-0.002, "c_1/d")]),
        ("-a+1.*pkg.mod:f", [(-1, "a"), (1, "pkg.mod:f")]),
    ],
)
def test_parse(text: str, terms: list[tuple[float, str]]) -> None:
    assert parse(text) == tuple(Term(*term) for term in terms)
    assert readable(text)


@pytest.mark.parametrize("text", ["a+*b", "a b", "a*2", "2", "a++b", "a:b:c", "a,b", "x*y", "a+", "mod:", "é"])
def test_what_cannot_be_read(text: str) -> None:
    assert not readable(text)
    with pytest.raises(ValueError, match="cannot be read from"):
        parse(text)
