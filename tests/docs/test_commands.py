"""What README and the documentation tell to type works as it stands: commands are done, snippets run.

Every run is shortened by LSP_TEST_STEPS, in a folder with a small run wherever a command reads one. A quick part, of
every test run, sees that commands are understood and snippets are Python.
"""

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsp import run
from lsp.config.shorten import VARIABLE
from tests.support.documents import Shown, read, shown
from tests.support.typed import do, furnish, provide, understand, words_of

SHELL, SNIPPETS = shown("shell"), shown("python")
GIVEN: dict[str, Any] = {"observation": np.zeros(125, np.float32), "key": 7}
GIVEN |= {"observations": np.zeros((2, 125), np.float32), "latents": np.zeros((2, 8), np.float32)}
"""What a snippet may take for granted: of the ant."""
READ = re.compile(r"[\"'](runs/[\w/]+)[\"']")
PAGES = sorted({each.page for each in SNIPPETS})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the ant with categorical critics, which all tools can read; trained once."""
    folder = tmp_path_factory.mktemp("finished") / "NAME"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "100")
        assert run.main(["--agent=categorical", f"--runs-dir={folder.parent}", f"--name={folder.name}"]) == 0
    return folder


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to type commands in."""
    monkeypatch.setenv(VARIABLE, "100")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    furnish(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", sorted({each.page for each in SHELL}))
def test_commands_are_understood(page: str, desk: Path) -> None:
    problems = []
    for each in [each for each in SHELL if each.page == page]:
        for line in each.lines:
            try:
                understand(line)
            except (Exception, SystemExit) as error:
                problems.append(f"{each.id}: {line}: {type(error).__name__} {error}")
    assert problems == []


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.id)
def test_snippets_are_python(snippet: Shown) -> None:
    compile(snippet.lines[0], snippet.id, "exec")


@pytest.mark.slow
@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.id)
def test_commands_do(
    block: Shown, finished: Path, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in block.lines:
        do(line, finished, monkeypatch, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_snippets_run(page: str, finished: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a page one after the other, as in a notebook."""
    names = dict(GIVEN)
    for snippet in [each for each in SNIPPETS if each.page == page]:
        (text,) = snippet.lines
        for package in re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE):
            if package != "numpy_policy" and importlib.util.find_spec(package) is None:
                pytest.skip(f"{snippet.id} needs {package}")
        for name in READ.findall(text):
            if f'"{Path(name).name}"' not in text:  # else the snippet itself makes it
                provide(name, finished)
        if "numpy_policy" in text:
            _go_into_an_exported_folder(finished, monkeypatch)
        exec(compile(text, snippet.id, "exec"), names)


def _go_into_an_exported_folder(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lsp import export

    pytest.importorskip("flatbuffers", reason="jax.export writes with it")
    assert export.main([str(finished), f"--out={Path('policy').absolute()}"]) == 0
    monkeypatch.chdir("policy")
    monkeypatch.syspath_prepend(".")


PAGE = """# A page

Type `make test`, or `python -m lsp.run --steps=3`; `python -m lsp.run` and `other --steps=4` are none, `python -m
lsp.report` neither; but `python -m lsp.report runs/B
runs/C` is one.

| what | command |
|---|---|
| two | `NPROC=1 python -m lsp.report runs/A`, then `python benchmarks/seeds.py` |

```
python -m lsp.run --agent=sac_lsp \\
    --steps=5        # a comment
cp -r runs/A runs/B
```

```
runs/NAME/
  config.json
```

    ```console
    $ make run ARGS="--seed=3 --name='a b'"
    lsp: finished: runs/a
    ```

<!-- not executed: nobody has this -->

```bash
python -m lsp.run --no-such-flag
```

```python
x = 1
```

```text
python -m lsp.run --steps=6
```
"""


def test_what_a_page_shows() -> None:
    found = list(read(PAGE, "page.md"))
    assert [(each.id, each.kind, each.lines) for each in sorted(found, key=lambda each: each.line)] == [
        ("page.md:3", "shell", ("make test",)),
        ("page.md:3", "shell", ("python -m lsp.run --steps=3",)),
        ("page.md:4", "shell", ("python -m lsp.report runs/B runs/C",)),
        ("page.md:9", "shell", ("NPROC=1 python -m lsp.report runs/A",)),
        ("page.md:9", "shell", ("python benchmarks/seeds.py",)),
        (
            "page.md:11",
            "shell",
            ("python -m lsp.run --agent=sac_lsp --steps=5        # a comment", "cp -r runs/A runs/B"),
        ),
        ("page.md:22", "shell", ("make run ARGS=\"--seed=3 --name='a b'\"",)),
        ("page.md:33", "python", ("x = 1",)),
    ]


def test_the_documents_show_something() -> None:
    assert len(SHELL) > 15
    assert SNIPPETS
    assert {"README.md", "runs/README.md"} <= {each.page for each in SHELL}


def test_words() -> None:
    assert words_of("NPROC=1 A=b python -m lsp.run --steps=5  # why") == (
        {"NPROC": "1", "A": "b"}, ["python", "-m", "lsp.run", "--steps=5"]
    )  # fmt: skip
    assert words_of("make run ARGS=\"--seed=3 --name='a b'\"")[1] == [
        "python", "-m", "lsp.run", "--agent=sac_lsp", "--seed=3", "--name=a b"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "python -m lsp.run --no-such-flag", "python -m lsp.run --steps=-3", "python -m lsp.report --steps=3 runs/A",
        "python -m lsp.no_such_module --x", "python benchmarks/no_such.py", "make no-such-target", "nobody knows",
        "python -m pip install -e '.[no-such-extra]'", "python -m lsp.grid --critic.tau=1",
    ],
)  # fmt: skip
def test_what_means_nothing_is_seen(line: str) -> None:
    with pytest.raises((Exception, SystemExit)):
        understand(line)
