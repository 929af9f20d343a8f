"""Chat templates: the text that transformers gives, the place of every content in it, and an end for every template."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.utils.chat_template_utils import render_jinja_template

from mcd.compiler.chat import values
from mcd.compiler.chat.filters import FILTERS
from mcd.compiler.chat.methods import DICTS, FUNCTIONS, LISTS, LOOPS, STRINGS
from mcd.compiler.chat.predicates import TESTS
from mcd.compiler.chat.render import Renderer
from mcd.compiler.chat.traced import (
    CHANGED,
    content,
    cut,
    joined,
    pieces_of,
    recased,
    replaced,
    rsplit,
    split,
    stripped,
)
from mcd.compiler.chat.values import Dated, Exhausted, Refused
from mcd.dsl import checked as c
from mcd.dsl.chat import words
from mcd.dsl.chat.parse import faults, parse_template

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
DATA = Path(__file__).parent / "data/chat"
TEMPLATES = {path.stem: path.read_text() for path in sorted(DATA.glob("*.jinja"))}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look up",
            "description": 'says "é"',
            "parameters": {
                "type": "object",
                "properties": {
                    "b": {"type": "string", "nullable": True},
                    "a": {"type": "array", "items": {"type": "object", "properties": {"z": {"type": "integer"}}}},
                },
            },
        },
    }
]
CALL = {"id": "c0000001", "type": "function", "function": {"name": "f", "arguments": {"x": 'é"<', "n": [1, 2.5, None]}}}
TALK = [
    {"role": "system", "content": " You help. "},
    {"role": "user", "content": " hi\n there "},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes."},
    {"role": "user", "content": "and?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": '"r"', "name": "F", "tool_call_id": "c0000001"},
    {"role": "assistant", "content": "done ", "reasoning": "because"},
]


def lines(name: str) -> list[str]:
    return (DATA / name).read_text().splitlines()


def renderer(template: str) -> Renderer:
    assert list(faults(parse_template(template))) == []
    return Renderer(c.ChatTemplate((("default", template),), tuple(TOKENS.items())))


def rendered(template: str, messages=TALK, **fields) -> str:
    return renderer(template).render(messages, fields).text


def told(template: str, messages=TALK, **fields) -> list[tuple[int, str]]:
    """The message and the text of every run."""
    found = renderer(template).render(messages, fields)
    return [(run[0].message, found.text[run[0].start : run[-1].end]) for run in found.runs]


def theirs(template: str, messages, **fields) -> str | None:
    """What transformers renders on a day of which Llama's template thinks that it is always; None where it raises."""
    messages = [{key: value for key, value in message.items() if value is not None} for message in messages]
    try:
        text = render_jinja_template([messages], chat_template=template, **TOKENS, **fields)[0][0]
    except Exception:
        return None
    return text.replace(datetime.datetime.now().strftime("%d %b %Y"), "26 Jul 2024")


def ours(template: str, messages, **fields) -> str | None:
    try:
        return rendered(template, messages, **fields)
    except Refused:
        return None


# --- the same text


@pytest.mark.parametrize("tools", [None, TOOLS], ids=["", "tools"])
@pytest.mark.parametrize(
    "part", [slice(0, 7), slice(1, 7), slice(0, 3), slice(1, 4), slice(1, 3), slice(3, 7)], ids=str
)
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_text_is_that_of_transformers(name, part, tools):
    fields = {} if tools is None else {"tools": tools}
    assert ours(TEMPLATES[name], TALK[part], **fields) == theirs(TEMPLATES[name], TALK[part], **fields)


def test_every_template_renders_some_part():
    for name, template in TEMPLATES.items():
        assert ours(template, TALK[1:3]), name


SIGNS = [*'ab {}%<|>"\\\n\tßİ😀é\u2028', "</think>", "<think>\n", "<|im_end|>"]
TEXTS = st.lists(st.sampled_from(SIGNS), max_size=12).map("".join)
PARTS = st.lists(
    st.one_of(st.builds(lambda text: {"type": "text", "text": text}, TEXTS), st.just({"type": "image"})), max_size=3
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool", "stop"])},
        optional={
            "content": st.one_of(TEXTS, PARTS, st.none()),
            "name": TEXTS,
            "reasoning_content": TEXTS,
            "tool_calls": st.lists(st.just(CALL), max_size=2),
            "tool_call_id": st.just("c0000002"),
        },
    ),
    min_size=1,
    max_size=5,
)
ALTERNATE = st.lists(TEXTS, min_size=1, max_size=5).map(
    lambda texts: [
        {"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)
    ]
)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(sorted(TEMPLATES)), st.one_of(MESSAGES, ALTERNATE), st.sampled_from([None, [], TOOLS]))
def test_random_messages_give_the_text_of_transformers_and_pieces_of_their_contents(name, messages, tools):
    fields = {} if tools is None else {"tools": tools}
    want = theirs(TEMPLATES[name], messages, **fields)
    if want is None:
        with pytest.raises(Refused):
            renderer(TEMPLATES[name]).render(messages, fields)
        return
    found = renderer(TEMPLATES[name]).render(messages, fields)
    assert found.text == want
    at = 0
    for run in found.runs:
        for piece in run:
            assert at <= piece.start < piece.end
            assert piece.message == run[0].message
            at = piece.end
            text = messages[piece.message]["content"]
            if not isinstance(text, str):
                text = "".join(part.get("text", "") for part in text)
            if piece.offset != CHANGED:
                there = text[piece.offset : piece.offset + piece.end - piece.start]
                assert found.text[piece.start : piece.end] in (there, there.upper())


EXPRESSIONS = lines("expressions.txt")
BLOCKS = """a
  {% if true %}
  b
  {% endif %}
c {#- note -#}
 d {%- if x +%}
 e{% endif %}  \n{% raw %}{{ x }}{% endraw %}
"""
STATEMENTS = [*lines("statements.txt"), BLOCKS]
GIVEN = {"x": 3, "y": False, "s": "text", "d": {"a": 1, "b": "t\n"}, "rows": [{"n": 2, "r": "b"}, {"n": 1, "r": "a"}]}


@pytest.mark.parametrize("template", [*(f"{{{{ {each} }}}}" for each in EXPRESSIONS), *STATEMENTS])
def test_words_mean_what_they_mean_in_jinja(template):
    want = theirs(template, TALK[:2], **GIVEN)
    assert want is not None
    assert rendered(template, TALK[:2], **GIVEN) == want


FAILING = lines("failing.txt")


@pytest.mark.parametrize("expression", FAILING)
def test_what_fails_in_jinja_refuses_the_record(expression):
    template = f"\n{{{{ {expression} }}}}"
    assert theirs(template, TALK[:2], **GIVEN) is None
    with pytest.raises(Refused, match=r"\(line 2 of the template\)$"):
        rendered(template, TALK[:2], **GIVEN)


def test_the_tables_of_words_are_those_that_have_a_meaning():
    assert set(FILTERS) == words.FILTERS
    assert set(TESTS) == words.TESTS
    assert set(FUNCTIONS) == words.FUNCTIONS
    assert (set(STRINGS), set(LISTS), set(DICTS), set(LOOPS)) == (
        words.STRING_METHODS,
        words.LIST_METHODS,
        words.DICT_METHODS,
        words.LOOP_METHODS,
    )


def test_records_with_tools_take_the_template_for_tools():
    both = Renderer(c.ChatTemplate((("default", "a"), ("tool_use", "b{{ tools[0].x }}"))))
    assert both.render(TALK, {}).text == "a"
    assert both.render(TALK, {"tools": [{"x": 1}]}).text == "b1"


# --- places


def test_contents_are_found_after_trims_cuts_and_joins():
    assert told(TEMPLATES["llama2"], [*TALK[:2], {"role": "assistant", "content": " Yes. "}]) == [
        (0, " You help. "),
        (1, " hi\n there"),
        (2, "Yes."),
    ]
    assert told(TEMPLATES["qwen"], TALK[:3])[-1] == (2, "hm\n</think>\n\nYes.")
    assert told(TEMPLATES["qwen"], TALK[:4])[2] == (2, "Yes.")
    assert told(TEMPLATES["deepseek"], TALK[:3]) == [(0, " You help. "), (1, " hi\n there "), (2, "\n\nYes.")]


def test_contents_of_parts_are_one_content():
    """The texts `ab ` and `c` are characters 0 to 3 and 3 to 4 of it; what stands between them in the text belongs to the run."""
    parts = [{"type": "text", "text": "ab "}, {"type": "image"}, {"type": "text", "text": "c"}]
    found = renderer(TEMPLATES["gemma3"]).render([{"role": "user", "content": parts}], {})
    assert found.text == "<s><start_of_turn>user\nab<start_of_image>c<end_of_turn>\n"
    ((first, second),) = found.runs
    assert (first.offset, second.offset) == (0, 3)
    assert found.text[first.start : second.end] == "ab<start_of_image>c"


@pytest.mark.parametrize(
    ("template", "runs"),
    [
        ("{{ m }} and {{ m }}", [[("say it", 0)], [("say it", 0)]]),
        ("{{ m.upper() }}", [[("SAY IT", 0)]]),
        ("{{ m | replace('y', 'yyy') }}", [[("sa", 0), (" it", 3)]]),
        ("{{ m.replace(' ', m) }}", [[("say", 0)], [("say it", 0)], [("it", 4)]]),
        ("{{ m | tojson }}", [[("say it", 0)]]),
        ("{{ (m ~ '\"') | tojson }}", [[('say it\\"', CHANGED)]]),
        ("{{ m[::-1] }}", [[("ti yas", CHANGED)]]),
        ("{{ m[4:] ~ m[:3] }}", [[("it", 4)], [("say", 0)]]),
        ("{{ m.split(' ') | join('+') }}", [[("say", 0), ("it", 4)]]),
        ("{{ m.split() | reverse | join(' ') }}", [[("it", 4)], [("say", 0)]]),
        ("{{ (m ~ '\\n' ~ m) | indent(2) }}", [[("say it", 0)], [("say it", 0)]]),
        ("{% for c in m %}{{ c }}{% endfor %}", [[("say it", 0)]]),
        ("{% set x %}<{{ m }}>{% endset %}{{ x | trim('<>') }}", [[("say it", 0)]]),
        ("{% macro f(t) %}<{{ t }}>{% endmacro %}{{ f(m) }}", [[("say it", 0)]]),
        ("{{ m | length }}{{ messages[0] | tojson }}", []),
        ("{{ m.title() }} {{ messages | map(attribute='content') | join }}", [[("Say It", 0)], [("say it", 0)]]),
        ("{{ [m, 'x'] | join(m) }}", [[("say it", 0)], [("say it", 0)]]),
    ],
)
def test_pieces_of_a_content(template, runs):
    template = "{% set m = messages[0].content %}" + template
    found = renderer(template).render([{"role": "user", "content": "say it"}], {})
    assert [[(found.text[p.start : p.end], p.offset) for p in run] for run in found.runs] == runs


def test_a_run_ends_where_another_message_begins():
    template = "{{ messages[0].content[:1] ~ messages[1].content ~ messages[0].content[1:] }}"
    assert told(template, [{"role": "user", "content": "ab"}, {"role": "user", "content": "X"}]) == [
        (0, "a"),
        (1, "X"),
        (0, "b"),
    ]


WORD = st.text(alphabet="ab ß\nİ", max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORD, min_size=1, max_size=3), st.integers(0, 9), st.integers(0, 9), WORD.filter(bool), WORD)
def test_traced_strings_are_the_strings_that_they_are(parts, start, stop, old, new):
    text = joined([content(part, number) for number, part in enumerate(parts)])
    plain = "".join(parts)
    results = [
        (text, plain),
        (cut(text, min(start, len(plain)), min(max(start, stop), len(plain))), plain[start : max(start, stop)]),
        (stripped(text), plain.strip()),
        (stripped(text, "a", right=False), plain.lstrip("a")),
        (replaced(text, old, new), plain.replace(old, new)),
        (recased(text, text.lower()), plain.lower()),
        *zip(split(text), plain.split(), strict=True),
        *zip(split(text, old, 1), plain.split(old, 1), strict=True),
        *zip(rsplit(text, old, 1), plain.rsplit(old, 1), strict=True),
        *zip(rsplit(text, None, 1), plain.rsplit(None, 1), strict=True),
    ]
    for found, want in results:
        assert found == want
        for piece in pieces_of(found):
            there = parts[piece.message][piece.offset : piece.offset + piece.end - piece.start]
            assert piece.offset == CHANGED or found[piece.start : piece.end] in (there, there.lower())


# --- an end


@pytest.mark.parametrize(
    ("template", "fact"),
    [
        ("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "steps"),
        (
            "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            "characters",
        ),
        (
            "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
            "characters",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "macros call each other more than 40 deep"),
        ("{% macro f(n) %}{% for i in [1, 2] %}{{ f(n) if n else '' }}{% endfor %}{% endmacro %}{{ f(1) }}", "40 deep"),
        ("{{ 'x' * 100000000 }}", "characters"),
        ("{{ ('x' * 10000000).replace('x', 'yyy') }}", "characters"),
        ("{{ 'a\\nb' | indent(99999999) }}", "characters"),
        ("{% for i in range(9000) %}{{ 'x' * 9000 }}{% endfor %}", "characters"),
        ("{% for i in range(100000) %}{{ messages | tojson }}{% endfor %}", "than"),
        (
            "{% set x = 'ab' * 5000000 %}{% for i in range(100000) %}{% if x == x ~ '' %}{% endif %}{% endfor %}",
            "steps",
        ),
        ("{% set x = 'ab' * 5000000 %}{% for i in range(100000) %}{% if 'z' in x %}{% endif %}{% endfor %}", "steps"),
        (
            "{% set x = 'ab' * 5000000 %}{% for i in range(100000) %}{% if x.count('z') %}{% endif %}{% endfor %}",
            "steps",
        ),
        ("{% set x = range(100000) | list %}{% for i in x %}{% set y = x | sort %}{% endfor %}", "steps"),
    ],
)
def test_no_template_goes_on_for_ever(template, fact):
    begin = time.monotonic()
    with pytest.raises(Exhausted, match=fact):
        rendered(template)
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize(
    "template",
    [
        "{{ range(100000000) | list }}",
        "{{ 9223372036854775807 * 9223372036854775807 }}",
        "{{ ('9' * 5000) | int + 'a' }}",
    ],
)
def test_what_is_too_large_refuses_the_record(template):
    with pytest.raises(Refused):
        rendered(template)


def test_no_name_of_a_template_or_a_record_reaches_an_attribute_of_python():
    names = [
        "__class__",
        "__init__",
        "__globals__",
        "__subclasses__",
        "mro",
        "format",
        "pieces",
        "encode",
        "above",
        "items2",
    ]
    for value in ("'a'", "messages", "messages[0]", "1", "none", "namespace()", "loop", "messages[0].content"):
        for name in names:
            template = f"{{% for i in [1] %}}{{{{ {value}['{name}'] is defined }}}}{{% endfor %}}"
            assert rendered(template, [{"role": "user", "content": "x"}]) == "False", (value, name)
    assert rendered("{{ messages | map(attribute='role.__class__') | select | list }}") == "[]"


def test_the_date_is_refused_where_it_is_asked_for():
    with pytest.raises(Dated, match="the same on every day"):
        rendered("{{ strftime_now('%Y') }}")
    assert rendered("{% if false %}{{ strftime_now('%Y') }}{% endif %}{{ strftime_now is defined }}") == "False"
    with_date = rendered(TEMPLATES["llama3"], TALK[:2], date_string="1 May 2020")
    assert "Today Date: 1 May 2020\n" in with_date


def test_a_record_pays_for_itself_alone(monkeypatch):
    monkeypatch.setattr(values.Run.__init__, "__defaults__", (2000, 0, 1, 0))
    ready = renderer("{% for m in messages %}{{ m.content }}{% endfor %}")
    for _ in range(20):
        ready.render([{"role": "user", "content": "x"}] * 100, {})
    with pytest.raises(Exhausted):
        ready.render([{"role": "user", "content": "x"}] * 1000, {})
