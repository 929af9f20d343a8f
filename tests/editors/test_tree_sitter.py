"""The tree-sitter parser, compiled from its committed C: its corpus, every spec there is, and what the reference parser says."""

from __future__ import annotations

import ctypes
import dataclasses
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given
from tree_sitter import Language, Node, Parser, Query, QueryCursor, Tree

from mcd.dsl import ast
from mcd.dsl.codes import syntax
from mcd.dsl.diagnostics import Findings
from mcd.dsl.parse import parse
from mcd.dsl.source import Place, SourceText

from ..dsl.generate import specs
from ..dsl.test_parse_errors import CASES, program
from ..dsl.test_pygments import BLOCKS, FILES, ROOT

FOLDER = ROOT / "editors" / "tree-sitter-mcd"
CORPUS = re.compile(
    r"^=+\n(?P<name>[^\n]+)\n=+\n\n(?P<text>.*?)\n\n-+\n\n(?P<tree>.*?)(?=^=|\Z)", re.MULTILINE | re.DOTALL
)
EXAMPLES = [
    match for path in sorted(FOLDER.glob("test/corpus/*.txt")) for match in CORPUS.finditer(path.read_text("utf-8"))
]

LAYOUT = {syntax.UNKNOWN_DECLARATION, syntax.INDENTED_DECLARATION}
"""The grammar of the editors does not see columns, so that it reads a declaration wherever one stands ..."""
INSIDE = {syntax.BAD_ESCAPE, syntax.BAD_NUMBER, syntax.CONTROL_CHARACTER, syntax.TOO_DEEP, syntax.UNKNOWN_EDITION}
"""... nor into strings and numbers, and it knows no limits and no editions."""


@pytest.fixture(scope="session")
def language(tmp_path_factory) -> Language:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = tmp_path_factory.mktemp("parser") / "mcd.so"
    source = FOLDER / "src"
    subprocess.run([compiler, "-shared", "-fPIC", "-I", source, source / "parser.c", "-o", library], check=True)
    function = ctypes.CDLL(str(library)).tree_sitter_mcd
    function.restype = ctypes.c_void_p
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype, capsule.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return Language(capsule(function(), b"tree_sitter.Language", None))


@pytest.fixture(scope="session")
def parser(language) -> Parser:
    return Parser(language)


def read(parser: Parser, text: str) -> Tree:
    return parser.parse(text.encode("utf-8"))


def reference(text: str) -> tuple[ast.Spec, list]:
    findings = Findings()
    return parse(SourceText("x.mcd", text), findings), findings.items


def squeezed(tree: str) -> str:
    """A tree without the names of fields and the white space of its layout."""
    return re.sub(r"\s+", " ", re.sub(r"\w+: ", "", tree)).replace(" )", ")").strip()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda match: match["name"])
def test_corpus(example, parser):
    assert squeezed(str(read(parser, example["text"]).root_node)) == squeezed(example["tree"])


def test_there_is_a_corpus():
    assert len(EXAMPLES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_specs_have_no_error(path, parser):
    assert not read(parser, path.read_text("utf-8")).root_node.has_error


def test_blocks_of_the_pages_have_no_error(parser):
    whole = [block if block.startswith("mcd ") else "mcd 1\n" + block for block in BLOCKS]
    assert [text for text in whole if read(parser, text).root_node.has_error] == []


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def conditions(where: ast.Expr | None) -> Iterator[ast.Expr | None]:
    """The conditions of a join, which the reference joins by `and` where they were written with several `where`."""
    while isinstance(where, ast.Binary) and where.op == "and":
        yield where.right
        where = where.left
    yield where


def expressions(value: object) -> Iterator[Place]:
    """The places of all expressions below a node of the reference's tree."""
    if isinstance(value, ast.Expr.__args__):
        yield value.place
    if isinstance(value, ast.Attend):
        value = dataclasses.replace(value, where=tuple(conditions(value.where)))
    if isinstance(value, tuple):
        for item in value:
            yield from expressions(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, Place):
        for field in dataclasses.fields(value):
            yield from expressions(getattr(value, field.name))


@given(specs())
def test_random_specs_are_read_as_the_reference_reads_them(text):
    """No error, and every expression of the reference's tree is a node: the ladders of operators agree."""
    parser = test_random_specs_are_read_as_the_reference_reads_them.parser
    tree = read(parser, text)
    spec, _ = reference(text)
    assert not tree.root_node.has_error
    offsets = [0]
    for character in text:
        offsets.append(offsets[-1] + len(character.encode("utf-8")))
    found = {(node.start_byte, node.end_byte) for node in nodes(tree.root_node)}
    missing = [place.text for place in expressions(spec) if (offsets[place.start], offsets[place.end]) not in found]
    assert missing == []


@pytest.fixture(autouse=True, scope="module")
def _share(parser):
    """hypothesis runs a test many times and takes no fixture that it would have to reset."""
    test_random_specs_are_read_as_the_reference_reads_them.parser = parser


BROKEN = [case for case in CASES if program(case)]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.split("\n")[0])
def test_errors_are_those_of_the_reference(case, parser):
    """Both find an error or neither does, but for what the grammar of the editors leaves to `mcd`."""
    text = program(case)
    codes = {item.code for item in reference(text)[1]}
    has_error = read(parser, text).root_node.has_error
    if not codes:
        assert not has_error
    elif codes - LAYOUT - INSIDE:
        assert has_error


def test_what_is_left_to_mcd_is_named():
    """Each code that the list above leaves out does occur in the list of broken programs, and most are not left out."""
    codes = [{item.code for item in reference(program(case))[1]} for case in BROKEN]
    assert sum(bool(found - LAYOUT - INSIDE) for found in codes) > 50


# --- queries


def captures(language: Language, parser: Parser, name: str, text: str) -> dict[str, list[str]]:
    query = Query(language, (FOLDER / "queries" / f"{name}.scm").read_text("utf-8"))
    return {
        capture: [node.text.decode("utf-8") for node in sorted(found, key=lambda node: node.start_byte)]
        for capture, found in QueryCursor(query).captures(read(parser, text).root_node).items()
    }


HIGHLIGHTED = r"""mcd 1
## doc
import "a.mcd" as logic  # note
let middle: layers = 50%..75%
source s = jsonl("x") { split = hash(train: 90%) text = "{.a} \n" lost = warn }
span a of s = regex(r"\d") in tokens where not text == "x"
relate k: logic.cause is_a a { layers = $middle }
attend b: a -> record where key before query { per = record }
use binding(a, on: true) as bound
"""

EXPECTED = {
    "comment": ["# note"],
    "comment.documentation": ["## doc"],
    "keyword": ["mcd", "let", "source", "span", "of", "relate", "attend"],
    "keyword.import": ["import", "as", "use", "as"],
    "keyword.operator": ["in", "where", "not", "is_a", "where", "before"],
    "module": ["logic", "bound"],
    "constant": ["middle"],
    "type.builtin": ["layers"],
    "type": ["s", "s"],
    "number": ["1", "50%", "75%", "90%"],
    "property": ["split", "text", "lost", "layers", "per"],
    "function.builtin": ["jsonl", "hash", "regex"],
    "function.call": ["binding"],
    "function": ["k", "b"],
    "variable": ["a"],
    "variable.parameter": ["train", "$middle", "on"],
    "variable.member": [".cause"],
    "variable.builtin": ["tokens", "record", "key", "query", "record"],
    "constant.builtin": ["warn"],
    "boolean": ["true"],
    "string.regexp": [r'r"\d"'],
    "string.escape": [r"\n"],
    "string.special": ["{.a}"],
}


def test_highlights(language, parser):
    found = captures(language, parser, "highlights", HIGHLIGHTED)
    assert {name: found.get(name) for name in EXPECTED} == EXPECTED


def test_no_node_is_highlighted_twice(language, parser):
    """Editors disagree on whether the first or the last pattern wins."""
    query = Query(language, (FOLDER / "queries" / "highlights.scm").read_text("utf-8"))
    for path in FILES:
        seen: dict[tuple[int, int], str] = {}
        for name, found in QueryCursor(query).captures(read(parser, path.read_text("utf-8")).root_node).items():
            for node in found:
                assert seen.setdefault((node.start_byte, node.end_byte), name) == name


def test_other_queries(language, parser):
    assert captures(language, parser, "injections", HIGHLIGHTED)["injection.content"] == ["## doc", "# note", r"\d"]
    assert captures(language, parser, "locals", HIGHLIGHTED)["local.definition"] == [
        *("logic", "middle", "s", "a", "k", "b", "bound")
    ]
    assert len(captures(language, parser, "folds", HIGHLIGHTED)["fold"]) > 3
    assert "indent.begin" in captures(language, parser, "indents", HIGHLIGHTED)
