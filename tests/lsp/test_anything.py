"""At any cursor in any text, whatever is asked is answered: random specs, cut and changed anywhere. No protocol in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcd.cli.lsp.hover import hover
from mcd.compiler.sources.sample import sample
from mcd.dsl.ide.complete import complete
from mcd.dsl.ide.outline import folds, outline
from mcd.dsl.ide.project import Project
from mcd.dsl.ide.rename import Refused, rename
from mcd.dsl.ide.semantic import roles

from ..dsl.generate import specs
from .conftest import SPEC, lay_out

ODD = [
    "",
    "=",
    "(",
    "}",
    "{",
    '"',
    "where ",
    "->",
    "é🙂",
    "\\",
    "$",
    ".",
    ":",
    "\n",
    "\nframe f(a: span) {\n",
    "## x\n",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Path]:
    folder = lay_out(tmp_path_factory.mktemp("any"))
    return Project(), (folder / "main.mcd").resolve()


def ask_everything(project: Project, path: Path, text: str, offset: int) -> None:
    project.put(path, text)
    analyses = project.of_file(path)
    project.findings(analyses)
    for analysis in analyses:
        proposals = complete(analysis, path, text, offset, sample)
        assert 0 <= proposals.start <= offset
        found = hover(analysis, path, text, offset)
        assert found is None or found[0] <= offset <= found[1]
        spans = [(role.start, role.end) for role in roles(text, analysis.names.of_file(path))]
        assert all(
            start < end <= after for (start, end), (after, _) in zip(spans, [*spans[1:], (len(text), 0)], strict=True)
        )
        assert all(text[name.start : name.end] == name.found.ident.name for name in analysis.names.of_file(path))
        outline(analysis.file(path))
    list(folds(text))
    try:
        rename(project, path, offset, "another")
    except Refused:
        return


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_spec_changed_anywhere(project: tuple[Project, Path], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(SPEC)))
    new = data.draw(st.sampled_from(ODD))
    text = SPEC[:at] + new + SPEC[at + data.draw(st.integers(0, 4)) :]
    ask_everything(*project, text, min(len(text), at + len(new)))


@given(specs(), st.data())
@settings(max_examples=25, deadline=None)
def test_random_specs(project: tuple[Project, Path], text: str, data: st.DataObject) -> None:
    ask_everything(*project, text, data.draw(st.integers(0, len(text))))


def test_every_cursor_of_a_spec(project: tuple[Project, Path]) -> None:
    """What is right stays right: a rename at any name gives a spec that has nothing new to find."""
    known, path = project
    known.put(path, SPEC)
    (analysis,) = known.of_file(path)
    assert analysis.checked.findings.items == []
    for name in analysis.names.of_file(path):
        changes = rename(known, path, name.start, "brandnew")
        assert sum(map(len, changes.values())) == len(analysis.names.of(name.key))
    for offset in range(0, len(SPEC), 7):
        complete(analysis, path, SPEC, offset, sample)
        hover(analysis, path, SPEC, offset)
