"""The navigation of the documentation site: every page is in it, in an order that follows from the pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mcd.docs.site.nav import TABLED, Navigation

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "# mcd",
    "ARCHITECTURE.md": "# Architecture",
    "docs/README.md": "# Pages\n[b](language/b.md) [other](../README.md) [web](https://example.org/x.md)",
    "docs/language.md": "# Language\n[c](language/c.md#part)",
    "docs/language/a.md": "# A",
    "docs/language/b.md": "# B",
    "docs/language/c.md": "# C",
    "docs/decisions/README.md": "# Decisions",
    "docs/decisions/0002-y.md": "# Y",
    "docs/decisions/0001-x.md": "# X",
    "docs/howto/second.md": "# Second",
    "docs/howto/first.md": "# First",
    "docs/unheard-of.md": "# New",
    "specs/demo/README.md": "# Demo",
}


@pytest.fixture
def navigation(tmp_path) -> Navigation:
    for name, text in PAGES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Navigation(tmp_path)


def below(navigation: Navigation, page: str) -> list[str]:
    """The captions and pages that a page gets at its end."""
    return re.findall(r"^(?::caption: |/)(.*)$", navigation.toctrees(page), re.MULTILINE)


def test_the_first_page_leads_to_all_others(navigation):
    assert below(navigation, "README") == [
        *("Learn", "docs/README"),
        *("How to", "docs/howto/first", "docs/howto/second"),
        *("Reference", "docs/language", "docs/unheard-of"),
        *("Project", "docs/decisions/README", "ARCHITECTURE", "specs/demo/README"),
    ]


def test_pages_of_a_folder_stand_below_its_page_in_the_order_of_links(navigation):
    assert below(navigation, "docs/language") == ["docs/language/c", "docs/language/b", "docs/language/a"]
    assert below(navigation, "docs/decisions/README") == ["docs/decisions/0001-x", "docs/decisions/0002-y"]
    assert (
        below(navigation, "docs/README")
        == below(navigation, "docs/language/a")
        == below(navigation, "ARCHITECTURE")
        == []
    )


def test_every_page_of_this_documentation_is_reached_once():
    navigation = Navigation(ROOT)
    pages = {path.relative_to(ROOT).with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    listed = [name for page in ("README", *pages) for name in below(navigation, page) if "/" in name or name.isupper()]
    tables = [(ROOT / f"{folder}.md").read_text("utf-8") for folder in TABLED]
    in_tables = {
        f"docs/{link}" for table in tables for link in re.findall(r"^\| \[\w+\]\(([^)]+)\.md\)", table, re.MULTILINE)
    }
    assert {*listed} & in_tables == set()
    assert pages <= {*listed, *in_tables}
    assert len({*listed}) == len(listed)
