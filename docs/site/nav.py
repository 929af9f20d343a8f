"""The navigation of the site, found from the pages that there are, so that a new page needs no entry anywhere.

Pages are plain Markdown, which GitHub shows as well; what the site adds to them is a hidden table of contents. The pages in
a folder stand below the page of the same name (`language/spans.md` below `language.md`, `howto/x.md` below
`howto/README.md`), in the order in which that page, or the page of all pages, links to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

GROUPS = {
    "Learn": ("README", "tutorial"),
    "How to": ("howto", "migration"),
    "Reference": ("language", "check", "changes", "editors", "runtime", "packing", "format", "diagnostics"),
    "Project": ("decisions",),
}
"""Caption -> pages and folders of docs/, in order. Those not named here follow at the end of the reference."""

REST = "Reference"
TABLED = ("docs/diagnostics",)
"""Folders of so many pages that the table on their page serves better than a list beside every page."""

OUTSIDE = (
    *("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("specs/*/README.md", "editors/README.md", "dsl/explained/README.md", "benchmarks/README.md"),
)
"""What stands outside docs/ and belongs to the project, as patterns."""

INDEX = "docs/README"
_LINK = re.compile(r"\]\(([^)#\s]+)\.md(?:#[^)]*)?\)")


class Navigation:
    """What stands below each page, by the names of pages: paths without their ending, below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._docs = {path.relative_to(root).with_suffix("").as_posix() for path in (root / "docs").rglob("*.md")}

    def toctrees(self, page: str) -> str:
        """The Markdown that a page gets at its end."""
        if page == "README":
            return "".join(_toctree(pages, caption) for caption, pages in self._groups())
        children = self._children(page)
        return _toctree(children) if children else ""

    def _groups(self) -> Iterator[tuple[str, list[str]]]:
        top = {name.split("/")[1] for name in self._docs}
        named = {name for names in GROUPS.values() for name in names}
        for caption, names in GROUPS.items():
            rest = sorted(top - named) if caption == REST else []
            pages = [page for name in (*names, *rest) if name in top for page in self._entry(name)]
            if caption == "Project":
                pages += self._outside()
            if pages:
                yield caption, pages

    def _entry(self, name: str) -> Iterable[str]:
        """The page of a name: its file, else the README of its folder, else all that the folder has."""
        for page in (f"docs/{name}", f"docs/{name}/README"):
            if page in self._docs:
                return [page]
        return self._ordered({page for page in self._docs if page.startswith(f"docs/{name}/")}, INDEX)

    def _children(self, page: str) -> list[str]:
        folder = page.removesuffix("/README")
        if page == INDEX or folder in TABLED or not page.startswith("docs/"):
            return []
        below = {name for name in self._docs if name.startswith(f"{folder}/") and name != page}
        return self._ordered(below, page)

    def _ordered(self, pages: set[str], by: str) -> list[str]:
        """The pages in the order of the links of `by`, then of the index, then by name."""
        linked = [*self._links(by), *self._links(INDEX)]
        return sorted(pages, key=lambda name: (linked.index(name) if name in linked else len(linked), name))

    def _links(self, page: str) -> list[str]:
        """The pages that a page links to, in order."""
        path = self._root / f"{page}.md"
        targets = _LINK.findall(path.read_text(encoding="utf-8"))
        found = [(path.parent / target).resolve() for target in targets]
        return [name.relative_to(self._root).as_posix() for name in found if name.is_relative_to(self._root)]

    def _outside(self) -> list[str]:
        found = [path for pattern in OUTSIDE for path in sorted(self._root.glob(pattern))]
        return [path.relative_to(self._root).with_suffix("").as_posix() for path in found]


def _toctree(pages: Iterable[str], caption: str | None = None) -> str:
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n\n" + "\n".join(["```{toctree}", *options, "", *(f"/{page}" for page in pages), "```"]) + "\n"
