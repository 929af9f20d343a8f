"""The configuration of the documentation site, which `make docs` builds from the pages as they stand in the repository."""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.application import Sphinx

from mcd.docs.site.nav import OUTSIDE, Navigation

project = "mcd"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["README.md", "docs/**.md", *OUTSIDE]
exclude_patterns = ["build/**", "**/node_modules/**", ".[a-z]*/**"]

myst_heading_anchors = 4
highlight_language = "none"
suppress_warnings = [
    "misc.highlighting_failure",  # blocks that are to show what does not parse; test_pygments.py holds the others
    "toc.not_included",  # the pages of codes, to which their table leads; test_site.py holds the others
]

html_theme = "furo"
html_title = "mcd"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
pygments_dark_style = "a11y-high-contrast-dark"


def setup(app: Sphinx) -> None:
    """Add the navigation to the pages as they are read, and a first page under the name that servers look for."""
    navigation = Navigation(Path(app.srcdir))
    app.connect("source-read", lambda _, name, text: text.append(text.pop() + navigation.toctrees(name)))
    app.connect("build-finished", _copy_first_page)


def _copy_first_page(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        shutil.copyfile(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")
