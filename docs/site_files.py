"""A hook of MkDocs: files of the repository that pages link to are part of the site, so that it is whole offline.

On GitHub a page's link such as ../lsp/types.py opens that file. In the site it opens a page that shows the file, and a
picture is shown from a copy. A link to what does not exist is left alone, and ends the build as any broken link does.
"""

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()(?:\.\./)+[^)#\s]+")
PICTURES = (".png", ".svg", ".gif")
FOLDER = "repository"


def on_files(files: "Files", config: Any) -> "Files":
    """Add what pages link to outside the folder of documentation."""
    for page in list(files.documentation_pages()):
        for target in LINK.findall(page.content_string):
            path = outside(page.src_uri, target)
            name = site_name(path) if path else ""
            if path and files.get_file_from_path(name) is None:
                files.append(_file(config, path, name))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to such files point to where they are in the site."""
    source = page.file.src_uri

    def moved(found: re.Match[str]) -> str:
        path = outside(source, found[0])
        return posixpath.relpath(site_name(path), posixpath.dirname(source) or ".") if path else found[0]

    return LINK.sub(moved, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Mark short names, such as those of flags, which the style sheet keeps on one line."""
    return re.sub(r"<code>([^\s<]{1,40})</code>", r'<code class="name">\1</code>', html)


def outside(source: str, target: str) -> str | None:
    """The path from the root of a file outside of docs that the page `source` links to; None of any other link."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(source), target))
    return path if not path.startswith(("docs/", "../")) and (ROOT / path).is_file() else None


def site_name(path: str) -> str:
    """Where a file of the repository is in the site, relative to the folder of documentation."""
    return f"{FOLDER}/{path}" + ("" if path.endswith(PICTURES) else ".md")


def _file(config: Any, path: str, name: str) -> "File":
    from mkdocs.structure.files import File, InclusionLevel  # which only those have who build the site

    if path.endswith(PICTURES):
        return File.generated(config, name, abs_src_path=str(ROOT / path))
    language = {".py": "python", ".md": "markdown", ".json": "json"}.get(Path(path).suffix, "text")
    text = f"---\nsearch:\n  exclude: true\n---\n# `{path}`\n\n~~~~~~{language}\n{(ROOT / path).read_text()}\n~~~~~~\n"
    return File.generated(config, name, content=text, inclusion=InclusionLevel.NOT_IN_NAV)
