"""Trees of every construct, limits, and what an unreadable file gives."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcd.dsl import ast
from mcd.dsl.cut import HEADER, KEYWORDS, OPERATORS
from mcd.dsl.diagnostics import Failure, Findings
from mcd.dsl.limits import MAX_BRACKETS, MAX_BYTES, MAX_DEPTH
from mcd.dsl.parse import parse, read_source
from mcd.dsl.source import DataPlace, Place, SourceText

EXAMPLE = (Path(__file__).parent / "data" / "example.mcd").read_text("utf-8")


def read(text: str) -> tuple[ast.Spec, Findings]:
    findings = Findings()
    return parse(SourceText("x.mcd", text), findings), findings


def item(text: str) -> ast.Item:
    spec, findings = read("mcd 1\n" + text)
    assert [found.message for found in findings.items] == []
    (only,) = spec.items
    return only


def expr(text: str) -> ast.Expr:
    declared = item(f"let x = {text}")
    assert isinstance(declared, ast.Let)
    assert declared.value.place.text == text
    return declared.value


def shape(node: ast.Expr) -> str:
    """An expression with all its structure, in brackets."""
    match node:
        case ast.Binary(op, left, right):
            return f"({shape(left)} {op} {shape(right)})"
        case ast.Where(base, condition):
            return f"({shape(base)} where {shape(condition)})"
        case ast.Unary(op, operand):
            return f"({op} {shape(operand)})"
        case ast.Member(base, name):
            return f"{shape(base)}.{name}"
        case ast.Call(callee, arguments):
            inner = (f"{a.label}: {shape(a.value)}" if a.label else shape(a.value) for a in arguments)
            return f"{shape(callee)}({', '.join(inner)})"
        case ast.Paren(inner):
            return f"<{shape(inner)}>"
        case ast.List(items):
            return f"[{', '.join(map(shape, items))}]"
        case ast.Map(entries):
            return "{" + ", ".join(f"{shape(k)}: {shape(v)}" for k, v in entries) + "}"
        case ast.Number(value):
            return str(value)
        case ast.Percent(value):
            return f"{value}%"
        case ast.String(value, _):
            return repr(value)
        case ast.Field(name):
            return f".{name}"
        case ast.Param(name):
            return f"${name}"
        case ast.Name(name):
            return name


# --- the example -----------------------------------------------------------------------------------------------------


def test_the_example_of_the_design() -> None:
    spec, findings = read(EXAMPLE)
    assert findings.items == []
    assert spec.edition == 1
    assert [type(found).__name__ for found in spec.items] == (
        ["Import", "Let", "Model", "Teacher", "Source"] + ["SpanDecl"] * 6 + ["Concept"] + ["Relate"] * 2
    ) + (["Attend"] * 2 + ["Signal"] * 5 + ["Weigh"] * 2 + ["Keep", "Gradient", "Curriculum", "Frame", "Use"]) + (
        ["Expect"] * 2
    )
    assert EXAMPLE[: spec.items[0].place.start].count("\n") == 2


def test_places_do_not_take_part_in_comparison() -> None:
    assert read(EXAMPLE)[0] == read("# moved\n" + EXAMPLE)[0]
    assert read(EXAMPLE)[0] != read(EXAMPLE.replace("0.6", "0.7"))[0]


# --- declarations ----------------------------------------------------------------------------------------------------


def name(text: str) -> ast.Ident:
    where = Place(SourceText("", text), 0, len(text))
    return ast.Ident(text, where)


def test_import_and_let() -> None:
    found = item('import "a.mcd" as b')
    assert isinstance(found, ast.Import)
    assert (found.path.value, found.alias.name, found.path.place.text) == ("a.mcd", "b", '"a.mcd"')
    found = item("let middle: layers = 50%..75%")
    assert isinstance(found, ast.Let)
    assert found.type == name("layers")
    assert shape(found.value) == "(50% .. 75%)"
    assert found.place.text == "let middle: layers = 50%..75%"


@pytest.mark.parametrize("kind", [ast.Model, ast.Teacher, ast.Concept])
def test_named_blocks(kind: type[ast.Model] | type[ast.Teacher] | type[ast.Concept]) -> None:
    found = item(f'{kind.__name__.lower()} a {{ b = 1\n c.d."e f" = 2 }}')
    assert isinstance(found, kind)
    assert found.name == name("a")
    assert [attribute.path for attribute in found.block.attributes] == [("b",), ("c", "d", "e f")]
    assert [attribute.name_place.text for attribute in found.block.attributes] == ["b", 'c.d."e f"']
    assert [attribute.place.text for attribute in found.block.attributes] == ["b = 1", 'c.d."e f" = 2']
    assert found.block.place.text.startswith("{ b")


def test_source_with_and_without_block() -> None:
    found = item('source s = jsonl("a") { id = .id }')
    assert isinstance(found, ast.Source)
    assert found.block is not None
    found = item("source s = [{a: 1}, {a: 2}]")
    assert isinstance(found, ast.Source)
    assert found.block is None


def test_span_of_a_source() -> None:
    found = item("span a of b = c")
    assert isinstance(found, ast.SpanDecl)
    assert (found.name, found.of) == (name("a"), name("b"))


def test_relate() -> None:
    found = item("relate k: a.b is_a $c { margin = 1 }")
    assert isinstance(found, ast.Relate)
    assert (found.label, found.relation, found.subject_to) == (name("k"), name("is_a"), None)
    assert (shape(found.subject), shape(found.object)) == ("a.b", "$c")
    found = item("relate france -> paris like germany -> berlin { }")
    assert isinstance(found, ast.Relate)
    assert (found.label, found.relation) == (None, name("like"))
    assert found.subject_to is not None
    assert found.object_to is not None
    ends = (found.subject, found.subject_to, found.object, found.object_to)
    assert [shape(end) for end in ends] == ["france", "paris", "germany", "berlin"]


def test_attend() -> None:
    found = item("attend c: a where x -> b | d where y == 1 or z where w { }")
    assert isinstance(found, ast.Attend)
    assert found.where is not None
    assert (shape(found.query), shape(found.key)) == ("(a where x)", "(b | d)")
    assert shape(found.where) == "(<((y == 1) or z)> and w)"
    found = item("attend a -> (b where x) where y and z { }")
    assert isinstance(found, ast.Attend)
    assert found.where is not None
    assert (shape(found.key), shape(found.where)) == ("<(b where x)>", "(y and z)")
    found = item("attend a -> b { }")
    assert isinstance(found, ast.Attend)
    assert found.where is None
    assert found.label is None


@pytest.mark.parametrize("kind", [ast.Signal, ast.Weigh, ast.Keep])
def test_rules(kind: type[ast.Signal] | type[ast.Weigh] | type[ast.Keep]) -> None:
    word = kind.__name__.lower()
    found = item(f"{word} r: tokens - answer {{ factor = 0.5 }}")
    assert isinstance(found, kind)
    assert (found.label, shape(found.subject)) == (name("r"), "(tokens - answer)")
    found = item(f"{word} a where b {{ }}")
    assert isinstance(found, kind)
    assert (found.label, shape(found.subject)) == (None, "(a where b)")


def test_gradient_and_curriculum() -> None:
    assert isinstance(item("gradient { stop = 3 }"), ast.Gradient)
    found = item("curriculum { mix = {a: 1} stage x 12.5% { only = [a] a.factor = 0 } order = b stage y 87.5% { } }")
    assert isinstance(found, ast.Curriculum)
    assert [attribute.path for attribute in found.attributes] == [("mix",), ("order",)]
    assert [(stage.name.name, stage.share.value) for stage in found.stages] == [("x", 12.5), ("y", 87.5)]
    assert found.stages[0].block.attributes[1].path == ("a", "factor")


def test_frame_and_use() -> None:
    found = item("frame f(a: span, b: layers = 50%,) {\n  ## Doc.\n  span c = $a\n  signal s: c { layers = $b }\n}")
    assert isinstance(found, ast.Frame)
    assert [(p.name.name, p.type.name, p.default is None) for p in found.parameters] == [
        ("a", "span", True),
        ("b", "layers", False),
    ]
    assert [type(inner) for inner in found.items] == [ast.SpanDecl, ast.Signal]
    assert [inner.doc for inner in found.items] == ["Doc.", None]
    found = item("use lib.f(x, b: 3) as y")
    assert isinstance(found, ast.Use)
    assert (shape(found.target), found.alias) == ("lib.f(x, b: 3)", name("y"))
    assert isinstance(item("frame f() { }"), ast.Frame)


def test_expect() -> None:
    found = item("expect coverage(a) >= 100")
    assert isinstance(found, ast.Expect)
    assert not found.trained
    found = item("expect trained mass(a) >= 0.5")
    assert isinstance(found, ast.Expect)
    assert (found.trained, shape(found.claim)) == (True, "(mass(a) >= 0.5)")


def test_documentation() -> None:
    text = "mcd 1\n## not this\n\n##One\n##   Two\nspan a = b # no\n### no\nspan c = d\n## Last."
    spec, findings = read(text)
    assert findings.items == []
    assert [found.doc for found in spec.items] == ["One\n  Two", None]


# --- expressions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a where b or c and not d", "(a where (b or (c and (not d))))"),
        ("a where b where c", "((a where b) where c)"),
        ("not a == b", "(not (a == b))"),
        ("a | b & c in d..e", "(a | (b & (c in (d .. e))))"),
        ("a == b | c", "(a == (b | c))"),
        ("a before b.next", "(a before b.next)"),
        ("1 + 2 * -3 - 4 / 5", "((1 + (2 * (- 3))) - (4 / 5))"),
        ("a - b - c", "((a - b) - c)"),
        ("- - a.b", "(- (- a.b))"),
        ("2..4 + 1", "(2 .. (4 + 1))"),
        ("0..2", "(0 .. 2)"),
        ("50%..$m", "(50% .. $m)"),
        ("(a where b) where c", "(<(a where b)> where c)"),
        ("a.b.c(d).e", "a.b.c(d).e"),
        ("a\n  .b", "a.b"),
        ("f(a, b: c, in_: .d,)", "f(a, b: c, in_: .d)"),
        ("f()", "f()"),
        ('[1, "a", .b,]', "[1, 'a', .b]"),
        ("[]", "[]"),
        ("{}", "{}"),
        ("{0..2: 0.1, a: 2,}", "{(0 .. 2): 0.1, a: 2}"),
        ("a in [1, 2]", "(a in [1, 2])"),
        ("key.end <= query.start", "(key.end <= query.start)"),
        ("a # comment }\n | b", "(a | b)"),
    ],
)
def test_the_ladder(text: str, expected: str) -> None:
    assert shape(expr(text)) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4), ("0.5", 0.5), ("1e-3", 0.001), ("2E2", 200.0), ("50%", 50), ("12.5%", 12.5), ("007", 7)],
)
def test_numbers(text: str, value: float) -> None:
    found = expr(text)
    assert isinstance(found, ast.Percent if "%" in text else ast.Number)
    assert (found.value, type(found.value)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a\n\t\"\\\u{1F642}\u{e9}"', 'a\n\t"\\🙂é'),
        ('"# no comment"', "# no comment"),
        ('""', ""),
        (r'r"\d\"\\"', r"\d\"\\"),
        ('r"#"', "#"),
        ('"日本 {.a} {{"', "日本 {.a} {{"),
    ],
)
def test_strings(text: str, value: str) -> None:
    found = expr(text)
    assert found == ast.String(value, text[0] == "r", found.place)


def test_fields() -> None:
    assert shape(expr('."odd-name"')) == ".odd-name"
    assert shape(expr(r'.a.b."c \u{41}"')) == ".a.b.c A"
    assert shape(expr(".source.model")) == ".source.model"


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_one_run_reports_the_errors_of_all_pieces() -> None:
    spec, findings = read("mcd 1\nspan a = = b\nspan c = d\nsgnal x: y { }\nlet e = 'f'\nlet g = 1\n")
    assert [found.code.id for found in findings.items] == ["MCD101", "MCD102", "MCD107"]
    assert [type(found) for found in spec.items] == [ast.SpanDecl, ast.Let]


@pytest.mark.parametrize("rest", ["oops", "}", "= 3", '"open', "  span c = d"])
def test_a_declaration_before_the_error_still_parses(rest: str) -> None:
    spec, findings = read(f"mcd 1\nsignal a: b {{ layers = 1 }}\n {rest}\n")
    assert len(findings.items) == 1
    assert isinstance(spec.items[0], ast.Signal)


def test_indented_declarations_parse_too() -> None:
    spec, findings = read("  mcd 1\n  span a = b\n  span c = d\n")
    assert [found.code.id for found in findings.items if found.code.id != "MCD103"] == ["MCD116", "MCD116"]
    assert len(spec.items) == 2


@pytest.mark.parametrize("text", ["", "# nothing\n", "span a = b\n", "\n\nspan a = b"])
def test_the_edition_is_missing(text: str) -> None:
    spec, findings = read(text)
    assert [found.code.id for found in findings.items] == ["MCD103"]
    assert spec.edition == 1
    assert len(spec.items) == text.count("span")


def test_an_unknown_edition_still_checks() -> None:
    spec, findings = read("mcd 7\nspan a = b\nspan = c")
    assert sorted(found.code.id for found in findings.items) == ["MCD101", "MCD104"]
    assert (spec.edition, len(spec.items)) == (7, 1)


@pytest.mark.parametrize("char", ["\0", "\x1b", "\x0b", "\x85", "\r", "\u202e"])
def test_control_characters(char: str) -> None:
    spec, findings = read(f'mcd 1\r\nspan a = "x{char}{char}"\r\nlet b = 1\r\n')
    (found,) = findings.items
    assert (found.code.id, found.message) == ("MCD108", f"control character U+{ord(char):04X} (and 1 more)")
    assert isinstance(found.place, Place)
    assert found.place.text == char
    assert len(spec.items) == 2


def test_deep_brackets_are_refused_fast() -> None:
    start = time.perf_counter()
    _, findings = read("mcd 1\nlet a = " + "(" * 200_000)
    assert time.perf_counter() - start < 2
    (found,) = findings.items
    assert found.code.id == "MCD109"
    assert isinstance(found.place, Place)
    assert found.place.start == len("mcd 1\nlet a = ") + MAX_BRACKETS


@pytest.mark.parametrize("text", [" " * 5000 + "}", "# x y\n" * 5000 + "}", "a" * 100_000 + " " + "b" * 100_000 + "é"])
def test_no_pattern_backtracks(text: str) -> None:
    start = time.perf_counter()
    _, findings = read(text)
    assert time.perf_counter() - start < 2
    assert len(findings.items) == 2


@pytest.mark.parametrize(
    "text",
    ["1" + " + 1" * MAX_DEPTH, "a" + ".b" * MAX_DEPTH, "not " * MAX_DEPTH + "a", "-f(" * 99 + "a" + ")" * 99],
)
def test_deep_expressions(text: str) -> None:
    spec, findings = read(f"mcd 1\nlet ok = 1\nlet a = f({text})\nlet b = 2")
    assert [found.code.id for found in findings.items] == ["MCD109"]
    assert len(spec.items) == 2


def test_what_is_just_deep_enough() -> None:
    expr("1" + " + 1" * (MAX_DEPTH - 2))
    expr("(" * MAX_BRACKETS + "1" + ")" * MAX_BRACKETS)


def test_thousands_of_conditions() -> None:
    _, findings = read("mcd 1\nattend a -> b" + " where c" * 3000 + " { }")
    assert [found.code.id for found in findings.items] == ["MCD109"]


def test_a_long_number() -> None:
    _, findings = read(f"mcd 1\nlet a = {'9' * 5000}\nlet b = {'9' * 5000}%")
    assert [found.code.id for found in findings.items] == ["MCD115", "MCD115"]


def test_a_text_too_large() -> None:
    _, findings = read("#" * (MAX_BYTES + 1))
    assert [found.code.id for found in findings.items] == ["MCD110"]


TOKENS = [
    *(HEADER, *KEYWORDS, *OPERATORS),
    *("stage", "as", "of", "like", "trained", "a", "b:", "$c", ".d", '."e"', "1", "2.5", "30%", '"f"', r'r"\g"', "'h'"),
    *(
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "=",
        "==",
        "<",
        "->",
        "..",
        "|",
        "&",
        "+",
        "-",
        "*",
        "/",
        ",",
        ":",
        ".",
        "$",
        "!",
        '"',
    ),
    *("\n", "\n", "\n  ", "# i\n", "## j\n", "\\", "é", "\t", "4x", "\0", "\r\n", "🙂"),
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=40), st.sampled_from(["", " "]))
def test_token_soup_gives_findings_and_nothing_else(tokens: list[str], between: str) -> None:
    text = between.join(tokens)
    spec, findings = read(text)
    for found in findings.items:
        assert isinstance(found.place, Place)
        assert 0 <= found.place.start <= found.place.end <= len(text)
    for part in spec.items:
        assert read("mcd 1\n" + part.place.text)[0].items == (part,) or part.doc is not None


# --- files -----------------------------------------------------------------------------------------------------------


def refused(path: Path) -> tuple[str, str, object]:
    with pytest.raises(Failure) as failure:
        read_source(path, "shown.mcd")
    (found,) = failure.value.diagnostics
    return found.code.id, found.message, found.place


def test_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mcd"
    path.write_bytes(b"\xef\xbb\xbfmcd 1\r\nspan a = b")
    source = read_source(path, "shown.mcd")
    assert (source.path, source.text) == ("shown.mcd", "mcd 1\r\nspan a = b")


def test_a_missing_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.mcd") == ("MCD112", "no file `shown.mcd`", DataPlace("shown.mcd"))
    assert refused(tmp_path) == ("MCD112", "`shown.mcd` is not a file", DataPlace("shown.mcd"))


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe")[0] == "MCD112"


def test_invalid_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.mcd"
    path.write_bytes(b"mcd 1\n# caf\xe9\n")
    message = "byte 0xE9 on line 2 is not valid UTF-8"
    assert refused(path) == ("MCD111", message, DataPlace("shown.mcd", 2))


def test_a_file_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.mcd"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert refused(path)[0] == "MCD110"
