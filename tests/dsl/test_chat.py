"""`chat` of models and sources: what a spec and a template alone show to be wrong, with its place."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mcd.dsl import checked as c
from mcd.dsl.chat.parse import MAX_DEPTH, Broken, faults, free_names, parse_template
from mcd.dsl.chat.read import MAX_BYTES
from mcd.dsl.check import check
from mcd.dsl.codes import names, values
from mcd.dsl.source import DataPlace

PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
MODEL = """mcd 1
model m {{
  layers = 4  heads = 2  hidden = 8  vocab = 100  causal = true  tokenizer = "tokenizer.json"  context = 64{chat}
}}
"""
SOURCE = 'source s = jsonl("data.jsonl") { chat = .messages }\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mcd.toml").touch()
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "data.jsonl").write_text("{}\n")
    return tmp_path


def checked(folder: Path, spec: str = SOURCE, chat: str = "t.jinja") -> tuple[c.Program | None, list]:
    path = folder / "spec.mcd"
    path.write_text(MODEL.format(chat=f'  chat = "{chat}"' if chat else "") + spec)
    program, findings = check(path)
    return program, findings.items


def underlined(finding) -> str:
    return finding.place.text


def test_a_jinja_file_with_the_tokens_of_the_config_beside_it(folder: Path) -> None:
    (folder / "t.jinja").write_text("{{ bos_token }}" + PLAIN + "{{ eos_token }}{{ topic }}")
    config = {"bos_token": {"content": "<s>"}, "eos_token": None, "pad_token": "<p>", "chat_template": "unused"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    program, found = checked(folder)
    assert program is not None and found == []
    chat = program.sources[0].text
    assert isinstance(chat, c.Chat) and chat.path == ("messages",)
    assert chat.template == program.model.chat
    assert chat.template.templates == (("default", "{{ bos_token }}" + PLAIN + "{{ eos_token }}{{ topic }}"),)
    assert (chat.template.tokens, chat.template.fields) == ((("bos_token", "<s>"),), ("topic",))
    assert {path.name for path in program.files} == {"spec.mcd", "t.jinja", "tokenizer_config.json"}


@pytest.mark.parametrize(
    ("config", "beside", "templates"),
    [
        ({"chat_template": PLAIN}, "other", [("default", PLAIN)]),
        ({"chat_template": None}, PLAIN, [("default", PLAIN)]),
        (
            {"chat_template": [{"name": "tool_use", "template": "b"}, {"name": "default", "template": "a"}]},
            None,
            [("default", "a"), ("tool_use", "b")],
        ),
        (
            {"chat_template": [{"name": "default", "template": "a"}, {"name": "rag", "template": "{% x %}"}]},
            None,
            [("default", "a")],
        ),
    ],
)
def test_a_config_has_the_template_or_it_stands_beside_it(folder: Path, config, beside, templates) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if beside is not None:
        (folder / "chat_template.jinja").write_text(beside)
    program, found = checked(folder, chat="tokenizer_config.json")
    assert program is not None, found
    assert list(program.model.chat.templates) == templates


@pytest.mark.parametrize(
    ("config", "fact"),
    [
        ("{", "`c.json` is no JSON: "),
        ("[]", "`c.json` is no JSON object"),
        ("{}", "`c.json` has no `chat_template`, and no `chat_template.jinja` stands beside it"),
        ('{"chat_template": 3}', "`c.json` has a `chat_template` that is neither a text nor a list of named ones"),
        ('{"chat_template": [{"name": "rag", "template": "x"}]}', "has no chat template `default` among `rag`"),
        ('{"chat_template": [{"name": "default"}]}', "has a chat template `default` that is no text"),
        ("[" * 100_000, "`c.json` is no JSON: "),
    ],
)
def test_a_config_that_gives_no_template(folder: Path, config: str, fact: str) -> None:
    (folder / "c.json").write_text(config)
    program, (found,) = checked(folder, chat="c.json")
    assert program is None
    assert (found.code, underlined(found)) == (values.CHAT_FILE, '"c.json"')
    assert fact in found.message


def test_files_that_are_no_templates(folder: Path) -> None:
    (folder / "t.jinja").write_bytes(b"caf\xe9")
    _, (found,) = checked(folder)
    assert found.code == values.CHAT_FILE and "`t.jinja` is no UTF-8 text" in found.message
    (folder / "t.jinja").write_text("x" * (MAX_BYTES + 1))
    _, (found,) = checked(folder)
    assert found.code == values.CHAT_FILE and "is longer than 1048576 characters" in found.message
    _, (found,) = checked(folder, chat="none.jinja")
    assert found.code == names.NO_FILE
    (folder.parent / "out.jinja").write_text("x")
    _, (found,) = checked(folder, chat="../out.jinja")
    assert found.code == names.OUTSIDE_ROOT


@pytest.mark.parametrize(
    ("template", "line", "fact"),
    [
        ("a\n{% for %}", 2, "is no chat template: Expected an expression"),
        ("a\n\n{% unknown %}", 3, "Encountered unknown tag 'unknown'"),
        ("{{ " + "9" * 5000 + " }}", 1, "is no chat template: "),
        ("{{ " + "(" * 5000 + " }}", 1, "nested too deep"),
        ("{{ " + "a + " * 5000 + "a }}", 1, f"it is nested more than {MAX_DEPTH} deep"),
        ("{{ '\\ud800' }}", None, None),
    ],
)
def test_a_broken_template_is_shown_at_its_line(folder: Path, template: str, line: int, fact: str) -> None:
    (folder / "t.jinja").write_text(template)
    program, found = checked(folder)
    if fact is None:
        return
    assert program is None
    assert (found[0].code, found[0].place) == (values.CHAT_SYNTAX, DataPlace("t.jinja", line))
    assert fact in found[0].message
    assert [(each.place.text, each.message) for each in found[0].related] == [
        ('"t.jinja"', "the template is named here")
    ]


WORDS = [
    ("{{ x | striptags }}", "the filter `striptags`", "did you mean `string`?"),
    ("{{ x | trimm }}", "the filter `trimm`", "did you mean `trim`?"),
    ("{{ x is filter }}", "the test `filter`", "did you mean `integer`?"),
    ("{{ x.format(1) }}", "the method `format`", None),
    ("{{ xs.append(1) }}", "the method `append`", None),
    ("{{ x.__class__ }}", "the name `__class__`", None),
    ("{{ ''.__class__.__mro__ }}", "the name `__mro__`", None),
    ("{{ __builtins__ }}", "the name `__builtins__`", None),
    ("{{ cycler('a') }}", "the function `cycler`", None),
    ("{{ x[0]() }}", "a call of something without a name", None),
    ("{{ range(*x) }}", "arguments given by `*` or `**`", None),
    ("{{ 10 ** 10 }}", "the operator `**`", None),
    ("{% include 'x' %}", "the statement `include`", None),
    ("{% import 'x' as y %}", "the statement `import`", None),
    ("{% extends 'x' %}", "the statement `extends`", None),
    ("{% block x %}{% endblock %}", "the statement `block`", None),
    ("{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}{% endcall %}", "the statement `call`", None),
    ("{% for x in y recursive %}{% endfor %}", "a `recursive` loop", None),
    ("{{ self }}", "the variable `self`", None),
]


@pytest.mark.parametrize(("template", "fact", "help"), WORDS, ids=[fact for _, fact, _ in WORDS])
def test_what_is_not_rendered_is_said_with_its_line(folder: Path, template: str, fact: str, help: str | None) -> None:
    (folder / "t.jinja").write_text("\n" + template)
    program, found = checked(folder)
    assert program is None
    message = f"a chat template cannot use {fact}"
    (match,) = [each for each in found if each.message == message]
    assert (match.code, match.place, match.help) == (values.CHAT_WORD, DataPlace("t.jinja", 2), help)


def test_in_a_config_the_line_of_the_template_is_in_the_message(folder: Path) -> None:
    templates = [{"name": "default", "template": "a\n{{ x | y }}"}, {"name": "tool_use", "template": "\n\n{% x %}"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))
    _, found = checked(folder, chat="tokenizer_config.json")
    assert [each.place for each in found] == [DataPlace("tokenizer_config.json")] * 2
    assert found[0].message == "a chat template cannot use the filter `y` (line 2 of the template)"
    assert found[1].message.endswith("(line 3 of the template `tool_use`)")


def test_a_source_of_messages_needs_a_template(folder: Path) -> None:
    _, (found,) = checked(folder, chat="")
    assert (found.code, underlined(found)) == (values.NO_CHAT_TEMPLATE, "chat")
    assert found.message == "source `s` holds messages, and no model names a chat template"


def test_special_tokens_need_a_config(folder: Path) -> None:
    (folder / "t.jinja").write_text("{{ bos_token }}" + PLAIN)
    _, (found,) = checked(folder)
    assert (found.code, underlined(found)) == (values.CHAT_TOKENS, '"t.jinja"')
    assert found.message == "the template reads `bos_token`, and no `tokenizer_config.json` beside it says what that is"


@pytest.mark.parametrize(
    ("spec", "code", "marked", "message"),
    [
        (
            'source s = jsonl("data.jsonl") { chat = .messages  text = .text }',
            values.ATTRIBUTES_CLASH,
            "text",
            "`text` cannot stand with `chat`, which says what the text is",
        ),
        ('source s = jsonl("data.jsonl") { chat = "messages" }', values.WRONG_TYPE, '"messages"', "`chat`"),
        ('source s = jsonl("data.jsonl")', names.MISSING_ATTRIBUTE, "s", "this `source` lacks `text` or `chat`"),
        (
            'source s = chat("data.jsonl") { chat = .messages }',
            names.UNKNOWN_FUNCTION,
            "chat",
            "no format `chat` of a source",
        ),
        (
            SOURCE + "span a = markup(.messages)",
            values.WRONG_TYPE,
            ".messages",
            "`.messages` of source `s` holds messages, and `markup` reads a text",
        ),
        (SOURCE + "span a = slot(.other)", names.UNKNOWN_FIELD, ".other", "no template has a slot `.other`"),
        (
            SOURCE + "span a = offsets(.mentions)",
            values.OFFSETS_OF,
            "offsets(.mentions)",
            "`offsets` needs `of:`, since a chat template renders the messages of `s`",
        ),
    ],
)
def test_what_a_spec_says_of_messages(folder: Path, spec: str, code, marked: str, message: str) -> None:
    (folder / "t.jinja").write_text(PLAIN)
    program, (found,) = checked(folder, spec + "\n")
    assert program is None
    assert (found.code, underlined(found)) == (code, marked)
    assert message in found.message


def test_keys_of_messages_are_attributes_and_those_of_other_slots_are_not(folder: Path) -> None:
    (folder / "t.jinja").write_text(PLAIN)
    reply = 'span reply = slot(.messages) where role == "assistant" and message > 0\n'
    program, found = checked(folder, SOURCE + reply + 'span old = reply where name == "x"\n')
    assert program is not None, found
    program, (found,) = checked(
        folder, SOURCE + 'source t = [{x: "a"}] { text = .x }\nspan a = slot(.x) where role == "u"\n'
    )
    assert found.code == names.NO_ATTRIBUTE


def test_a_broken_template_silences_what_follows_from_it(folder: Path) -> None:
    (folder / "t.jinja").write_text("{% x %}")
    _, found = checked(folder, SOURCE + 'span reply = slot(.messages) where role == "assistant"\n')
    assert [each.code for each in found] == [values.CHAT_SYNTAX]


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{{ a }}{% set a = 1 %}{{ b is defined }}", ("a", "b")),
        ("{% if x %}{% set a = 1 %}{% else %}{% set a = 2 %}{% endif %}{{ a }}", ("x",)),
        (
            "{% for a, b in c if a and d %}{{ loop.index ~ b ~ e }}{% endfor %}{{ messages }}{{ range(3) }}",
            ("c", "d", "e"),
        ),
        ("{% macro f(a, b=c) %}{{ a ~ b ~ f(1) }}{% endmacro %}{{ f(d) }}", ("c", "d")),
        ("{% set ns = namespace(x=y) %}{% set ns.x = 1 %}{% with u = v %}{{ u }}{% endwith %}", ("v", "y")),
        ("{% set a = a %}", ("a",)),
        ("{% set x %}{{ x }}{% endset %}", ("x",)),
    ],
)
def test_free_names(template: str, names: tuple[str, ...]) -> None:
    tree = parse_template(template)
    assert list(faults(tree)) == []
    assert free_names(tree) == names


def test_hostile_templates_end_soon() -> None:
    begin = time.monotonic()
    for template in (
        "{" * 10**6,
        "{{" * 10**5,
        "{% if x %}" * 10**4,
        "{{ [" + "[" * 10**5,
        "{{ x" + "|trim" * 10**5 + " }}",
    ):
        with pytest.raises(Broken):
            list(faults(parse_template(template)))
    assert time.monotonic() - begin < 20
