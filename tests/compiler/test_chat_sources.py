"""Sources of messages, from files to shards: spans of contents, offsets in them, special tokens, and what is counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from mcd.compiler.chat.locate import Contents
from mcd.compiler.chat.messages import Chats
from mcd.compiler.chat.render import Renderer
from mcd.compiler.compile import Compiled
from mcd.compiler.describe import describe
from mcd.compiler.difference import Effect, Side, differences
from mcd.compiler.files.output import json_text
from mcd.compiler.manifest import Manifest
from mcd.compiler.plan import Plan
from mcd.compiler.prepare import prepare
from mcd.compiler.sources import reader
from mcd.compiler.sources.base import Origin, Rows, Tally
from mcd.dsl import checked as c
from mcd.dsl.codes import sources as codes
from mcd.dsl.diagnostics import Failure

from ..projects import checked, compiled, project, write_tokenizer
from .helpers import PLACE

TURN = "{{ '<|im_start|> ' + m.role + ' ' + (m.content | default('') | trim) + ' <|im_end|> ' }}"
CHATML = f"{{% for m in messages %}}{TURN}{{% endfor %}}"
SPEC = """source talk = jsonl("data.jsonl") { id = .id  chat = .messages }
span reply = slot(.messages) where role == "assistant"
weigh reply { factor = 2 }
"""
TALK = [
    {"role": "user", "content": " the cat ", "mood": "calm"},
    {"role": "assistant", "content": "a red bird", "score": 3},
    {"role": "user", "content": "and it ?"},
    {"role": "assistant", "content": " ran off", "score": 4},
]
# <|im_start|> 0 user 1 the 2 cat 3 <|im_end|> 4 <|im_start|> 5 assistant 6 a 7 red 8 bird 9 <|im_end|> 10
# <|im_start|> 11 user 12 and 13 it 14 ? 15 <|im_end|> 16 <|im_start|> 17 assistant 18 ran 19 off 20 <|im_end|> 21
REPLIES = [(7, 10), (19, 21)]


def talks(
    tmp_path: Path, records: list[dict] | None = None, spec: str = SPEC, template: str = CHATML, more: str = ""
) -> Path:
    """A project of chats. The tokenizer knows the marks of turns, and adds `<s>` before a text."""
    path = project(tmp_path, spec, [{"id": "t", "messages": TALK}] if records is None else records)
    path.write_text(path.read_text().replace("context = 16", f'context = 64  chat = "t.jinja"  {more}'))
    (tmp_path / "t.jinja").write_text(template)
    write_tokenizer(tmp_path / "tokenizer.json", begin="<s>")
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return path


def shards(out: Path, split: str = "train") -> pa.Table:
    files = sorted((out / "shards" / split).glob("*.arrow"))
    return pa.concat_tables(pa.ipc.open_file(file).read_all() for file in files)


def spans(out: Path, name: str = "reply") -> list[tuple[int, int]]:
    """The token ranges of a named set in the first record."""
    plan = Plan.model_validate_json((out / "program.json").read_bytes())
    (key,) = [key for key, info in plan.sets.items() if info.written == name]
    table = shards(out)
    (sets,) = [json.loads(value) for name, value in table.schema.metadata.items() if b"set" in name]
    record = table.slice(0, 1).to_pylist()[0]
    found = zip(record["span.set"], record["span.start"], record["span.end"], strict=True)
    return [(start, end) for place, start, end in found if place == sets.index(key)]


def messages_of(found: Compiled) -> list[str]:
    return [warning.message for warning in found.warnings]


def failure(path: Path, out: Path):
    with pytest.raises(Failure) as caught:
        compiled(path, out)
    return caught.value.diagnostics


def test_replies_are_spans_and_no_token_is_added_twice(tmp_path):
    out = tmp_path / "out"
    found = compiled(talks(tmp_path), out)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    (ids,) = shards(out)["input_ids"].to_pylist()
    tokens = [tokenizer.id_to_token(id) for id in ids]
    assert len(tokens) == 22 and "<s>" not in tokens
    assert [tokens[place] for place in (0, 4, 5, 10, 21)] == [
        "<|im_start|>",
        "<|im_end|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    ]
    assert spans(out) == REPLIES
    assert (found.plan.tokenizer.prefix, found.plan.tokenizer.bare) == (1, ("talk",))
    assert found.manifest.chat == {"talk": {"messages": 4}}
    assert found.manifest.rules["weigh reply"].splits["train"] == {"matched": 2, "rows": 5}


@pytest.mark.parametrize(
    ("where", "ranges"),
    [
        ('role == "user"', [(2, 4), (13, 16)]),
        ("message == 1", [(7, 10)]),
        ("message > 0 and score > 3", [(19, 21)]),
        ('mood == "calm"', [(2, 4)]),
        ("index == 2", [(13, 16)]),
        ('text == "ran off"', [(19, 21)]),
    ],
)
def test_keys_of_messages_are_attributes(tmp_path, where, ranges):
    spec = SPEC.replace('role == "assistant"', where)
    compiled(talks(tmp_path, spec=spec), tmp_path / "out")
    assert spans(tmp_path / "out", "reply") == ranges


def test_the_token_that_ends_a_turn_is_the_one_after_a_reply(tmp_path):
    spec = SPEC.replace("weigh reply", "span taught = reply | reply.next\nweigh taught")
    compiled(talks(tmp_path, spec=spec), tmp_path / "out")
    assert spans(tmp_path / "out", "taught") == [(7, 10), (10, 11), (19, 21), (21, 22)]


MENTIONED = (
    SPEC.replace("span reply", "span thing = offsets(.mentions, of: .messages)\nspan reply")
    + "weigh thing { factor = 3 }\n"
)


def test_offsets_count_in_the_content_of_a_message(tmp_path):
    """In ` the cat `, characters 5 to 8 are `cat`; 4 to 9 are that and white space, of which a part is trimmed."""
    mentions = [
        {"message": 0, "start": 5, "end": 8, "kind": "x"},
        {"message": 0, "start": 0, "end": 4, "kind": "x"},
        {"message": 1, "start": 2, "end": 10, "kind": "x"},
        {"message": 3, "start": 1, "end": 8, "kind": "y"},
    ]
    spec = MENTIONED.replace(".messages)\n", '.messages) where kind == "x" and message < 2\n', 1)
    found = compiled(talks(tmp_path, [{"id": "t", "messages": TALK, "mentions": mentions}], spec), tmp_path / "out")
    assert spans(tmp_path / "out", "thing") == [(2, 3), (3, 4), (8, 10)]
    assert messages_of(found) == []


def test_entries_in_what_the_template_leaves_out_are_counted(tmp_path):
    """Of `red bird off` the template keeps ` bird `: what reaches out of it has no place, white space aside."""
    cut = "{% for m in messages %}{{ '<|im_start|> ' ~ m.content[3:9] ~ ' <|im_end|> ' }}{% endfor %}"
    messages = [{"role": "user", "content": "red bird off"}, {"role": "assistant", "content": "it"}]
    ranges = [(4, 8), (3, 9), (0, 3), (2, 8), (0, 12), (9, 10)]
    mentions = [{"message": 0, "start": start, "end": end} for start, end in ranges]
    found = compiled(
        talks(tmp_path, [{"id": "t", "messages": messages, "mentions": mentions}], MENTIONED, cut), tmp_path / "out"
    )
    assert spans(tmp_path / "out", "thing") == [(1, 2)]
    assert found.manifest.chat == {"talk": {"messages": 2, "shortened": 1, "unrendered": 1, "entries": 4}}
    assert "source `talk`: 4 entries of `offsets` stand in what the chat template leaves out" in messages_of(found)
    assert "source `talk`: 1 of 2 messages are in the text in part alone, as the chat template has it" in messages_of(
        found
    )
    assert "source `talk`: 1 of 2 messages are not in the text that the chat template gives" in messages_of(found)


@pytest.mark.parametrize(
    ("entry", "code", "fact"),
    [
        ({"start": 0, "end": 1}, codes.OFFSETS_ENTRY, "an entry has no `message`"),
        ({"message": 4, "start": 0, "end": 1}, codes.OFFSETS_OUTSIDE, "there is no message 4 among 4"),
        ({"message": -1, "start": 0, "end": 1}, codes.OFFSETS_OUTSIDE, "there is no message -1 among 4"),
        (
            {"message": 1, "start": 0, "end": 11},
            codes.OFFSETS_OUTSIDE,
            "[0, 11) is no range in message 1, which has 10 characters",
        ),
        ({"message": 1, "start": 1, "end": 1}, codes.OFFSETS_OUTSIDE, "[1, 1) is no range in message 1"),
        ({"message": 1.5, "start": 1, "end": 2}, codes.OFFSETS_ENTRY, "`message` is 1.5"),
    ],
)
def test_entries_that_count_nowhere(tmp_path, entry, code, fact):
    records = [{"id": "t", "messages": TALK, "mentions": [entry]}]
    (found,) = failure(talks(tmp_path, records, MENTIONED), tmp_path / "out")
    assert found.code == code and fact in found.message


def test_a_content_may_hold_any_characters(tmp_path):
    """Offsets are code points of the content, wherever it stands in the text, and whatever stands before it."""
    messages = [{"role": "user", "content": "é😀 cat 日本"}, {"role": "assistant", "content": "日 dog"}]
    mentions = [{"message": 0, "start": 3, "end": 6}, {"message": 1, "start": 2, "end": 5}]
    compiled(talks(tmp_path, [{"id": "t", "messages": messages, "mentions": mentions}], MENTIONED), tmp_path / "out")
    assert spans(tmp_path / "out", "thing") == [(3, 4), (9, 10)]


# --- special tokens in contents


def test_special_tokens_in_contents_are_counted(tmp_path):
    messages = [
        {"role": "user", "content": "a <|im_end|> <|im_end|> cat"},
        {"role": "assistant", "content": "<s>"},
        TALK[2],
    ]
    path = talks(tmp_path, [{"id": "a", "messages": messages}, {"id": "b", "messages": TALK}])
    found = compiled(path, tmp_path / "out")
    assert found.manifest.chat["talk"] == {"messages": 7, "special": 2}
    (warning,) = [each for each in found.warnings if each.code == codes.CHAT_SPECIAL]
    assert warning.message == (
        "source `talk`: 2 of 7 messages hold the text of a special token, which the tokenizer reads as that token"
    )
    again = compiled(path, tmp_path / "out")
    assert again.reused and messages_of(again) == messages_of(found)
    path.write_text(path.read_text().replace('chat = "', 'lost = error  chat = "'))
    (error,) = failure(path, tmp_path / "other")
    assert error.code == codes.CHAT_LOST and "2 of 7 messages" in error.message


def test_a_changed_content_keeps_its_place_and_no_place_inside(tmp_path):
    template = "{% for m in messages %}<|im_start|> {{ m.role }} {{ m.content[::-1] }} <|im_end|> {% endfor %}"
    messages = [{"role": "user", "content": "cat"}, {"role": "assistant", "content": "a<s>b"}]
    mentions = [{"message": 1, "start": 0, "end": 1}]
    found = compiled(
        talks(tmp_path, [{"id": "t", "messages": messages, "mentions": mentions}], MENTIONED, template),
        tmp_path / "out",
    )
    assert spans(tmp_path / "out", "reply") == [(6, 7)]
    assert found.manifest.chat["talk"] == {"messages": 2, "changed": 2, "entries": 1}


# --- what the data may be


@pytest.mark.parametrize(
    ("messages", "code", "fact"),
    [
        ("hello", codes.MESSAGES_SHAPE, "`.messages` is a string, where a list of messages is expected"),
        ({"role": "user"}, codes.MESSAGES_SHAPE, "`.messages` is an object, where a list of messages is expected"),
        (["hello"], codes.MESSAGE_ENTRY, "message 0 of `.messages` is a string, where an object is expected"),
        ([TALK[0], {"content": "x"}], codes.MESSAGE_ENTRY, "message 1 of `.messages` has no `role`, a string"),
        ([{"role": 3, "content": "x"}], codes.MESSAGE_ENTRY, "message 0 of `.messages` has no `role`, a string"),
        (
            [{"role": "user", "content": 3}],
            codes.MESSAGE_ENTRY,
            "has a `content` that is a number, where a text or a list of parts",
        ),
        ([{"role": "user", "content": "\ud800"}], codes.BAD_ENCODING, "`.messages` holds half of a surrogate pair"),
        ([{"role": "user", "content": "\0"}], codes.BAD_ENCODING, "the text holds a NUL character"),
        (
            [TALK[1], {**TALK[1], "score": "high"}],
            codes.MIXED_TYPES,
            "key `score` of a message is a string that does not go",
        ),
    ],
)
def test_what_is_no_list_of_messages(tmp_path, messages, code, fact):
    path = talks(tmp_path, [{"id": "a", "messages": TALK}, {"id": "b", "messages": messages}])
    (found,) = failure(path, tmp_path / "out")
    assert (found.code, found.place.line) == (code, 2)
    assert fact in found.message


def test_contents_may_be_absent_null_empty_or_parts(tmp_path):
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "cat"}]
    text = "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}"
    template = f"{{% for m in messages %}}<|im_start|> {text} <|im_end|> {{% endfor %}}"
    contents = [{}, {"content": None}, {"content": ""}, {"content": " "}, {"content": parts}, {"content": "dog"}]
    messages = [{"role": "assistant", **each} for each in contents]
    found = compiled(talks(tmp_path, [{"id": "t", "messages": messages}], template=template), tmp_path / "out")
    assert spans(tmp_path / "out") == [(9, 11), (13, 14)]
    assert found.manifest.chat == {"talk": {"messages": 6}}


def test_records_without_messages_are_dropped_and_counted(tmp_path):
    records = [{"id": "a", "messages": TALK}, {"id": "b"}, {"id": "c", "messages": None}, {"id": "d", "messages": []}]
    found = compiled(talks(tmp_path, records), tmp_path / "out")
    assert found.manifest.dropped == {"no_messages": 1, "null_text": 2}
    assert "1 record dropped: the list of messages is empty" in messages_of(found)


REFUSING = "{% if messages[0].role == 'system' %}\n{{ raise_exception('no system here') }}{% endif %}" + CHATML


def test_records_that_the_template_refuses_are_dropped_or_stop_the_build(tmp_path):
    records = [{"id": "a", "messages": TALK}, {"id": "b", "messages": [{"role": "system", "content": "x"}]}]
    path = talks(tmp_path, records, template=REFUSING)
    found = compiled(path, tmp_path / "out")
    assert found.manifest.dropped == {"refused": 1}
    (warning,) = found.warnings
    assert warning.message == "1 record dropped: the chat template refuses or fails"
    assert warning.help == "`lost = error` in `model` names the first, and says why"
    path.write_text(path.read_text().replace('chat = "', 'lost = error  chat = "'))
    (error,) = failure(path, tmp_path / "other")
    assert (error.code, error.place.line) == (codes.CHAT_REFUSED, 2)
    assert error.message == (
        "`data.jsonl` line 2: the chat template refuses it: no system here (line 2 of the template)"
    )


def test_a_template_that_refuses_everything_leaves_nothing(tmp_path):
    path = talks(tmp_path, [{"id": "b", "messages": [{"role": "system", "content": "x"}]}], template=REFUSING)
    (found,) = failure(path, tmp_path / "out")
    assert found.code == codes.NOTHING_LEFT
    assert found.help == "`lost = error` in `model` names the first, and says why"


@pytest.mark.parametrize(
    ("template", "code", "fact"),
    [
        (
            "\n{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            codes.CHAT_LIMIT,
            "10,000,000 steps (line 2",
        ),
        ("{{ strftime_now('%Y') }}", codes.CHAT_DATE, "it asks for the date"),
    ],
)
def test_a_template_that_does_what_it_may_not_stops_the_build(tmp_path, template, code, fact):
    (found,) = failure(talks(tmp_path, template=template), tmp_path / "out")
    assert (found.code, found.place.line) == (code, 1)
    assert fact in found.message


def test_a_field_that_no_record_has(tmp_path):
    path = talks(tmp_path, [{"id": "a", "turns": TALK}])
    (found,) = failure(path, tmp_path / "out")
    assert found.code == codes.NO_SUCH_FIELD
    assert found.message == "no record of source `talk` has `.messages`"


# --- formats, keys, words


TOOLED = "{{ topic }} {% if tools %}{{ tools | length }} {% endif %}" + CHATML


def test_columns_give_the_text_that_lines_give(tmp_path):
    """A column has every key in every struct; its nulls are no keys. `topic` and `tools` are fields of the record."""
    tools = [{"function": {"name": "f"}}]
    records = [
        {"id": "a", "messages": TALK, "topic": "k1", "tools": tools},
        {"id": "b", "messages": TALK[:2], "topic": "k2"},
        {"id": "c", "messages": [{"role": "assistant", "content": None, "score": 1}, TALK[1]], "topic": "v1"},
    ]
    lines = compiled(talks(tmp_path, records, template=TOOLED), tmp_path / "lines")
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "data.parquet")
    with pa.OSFile(str(tmp_path / "data.arrow"), "wb") as file:
        table = pa.Table.from_pylist(records)
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    want = shards(tmp_path / "lines")["input_ids"].to_pylist()
    assert [len(ids) for ids in want] == [24, 12, 10]
    for kind in ("parquet", "arrow"):
        compiled(
            talks(tmp_path, spec=SPEC.replace('jsonl("data.jsonl")', f'{kind}("data.{kind}")'), template=TOOLED),
            tmp_path / kind,
        )
        assert shards(tmp_path / kind)["input_ids"].to_pylist() == want
    inline = '[{id: "a", topic: "k1", messages: [{role: "assistant", content: "a red bird"}]}]'
    compiled(talks(tmp_path, spec=SPEC.replace('jsonl("data.jsonl")', inline), template=TOOLED), tmp_path / "inline")
    assert spans(tmp_path / "inline") == [(3, 6)]
    assert lines.manifest.chat == {"talk": {"messages": 8}}


def test_the_template_is_a_part_of_the_key_of_shards_and_of_the_inputs(tmp_path):
    path = talks(tmp_path)
    first = compiled(path, tmp_path / "out").manifest
    assert "t.jinja" in [entry.path for entry in first.inputs]
    same = compiled(path, tmp_path / "out")
    assert same.reused
    (tmp_path / "t.jinja").write_text(CHATML + "{# a comment #}")
    other = compiled(path, tmp_path / "out")
    assert not other.reused and other.manifest.shards_key != first.shards_key
    (tmp_path / "u.jinja").write_text(CHATML)
    path.write_text(path.read_text().replace("t.jinja", "u.jinja"))
    assert compiled(path, tmp_path / "out").manifest.shards_key == first.shards_key


CUTS = "{% for m in messages %}{{ m.role ~ m.content.strip() ~ m.content[1:4] ~ m.content.split('b') | join('日') }}{% endfor %}"
WORDS = st.text(alphabet="ab é😀", max_size=8)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(WORDS, min_size=1, max_size=3), min_size=1, max_size=3), st.data())
def test_ranges_of_contents_are_placed_as_a_plain_search_places_them(contents, data):
    """Every run that has the first and the last character of a range, white space off, gives one place."""
    records = [[{"role": "user", "content": text} for text in texts] for texts in contents]
    chat = c.Chat(("m",), c.ChatTemplate((("default", CUTS),)))
    source = c.Source("s", "inline", (), (), None, c.ConstantSplit("train"), chat, PLACE)
    rows = Rows(
        np.arange(len(records)),
        {},
        {},
        {path: [None] * len(records) for path in [("tools",), ("documents",)]} | {("m",): records},
    )
    _, texts = Chats(chat, Origin(source, Path(), "s"), True).texts(rows, Tally())
    messages, rendered = texts.messages, [Renderer(chat.template).render(talk, {}) for talk in records]
    flat = [
        (place, number, text) for place, talk in enumerate(contents) for number, text in enumerate(talk) if text.strip()
    ]
    if not flat:
        return
    want, ask = [], []
    for row in range(3):
        place, number, text = data.draw(st.sampled_from(flat))
        start, end = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=2, unique=True)))
        ask.append((sum(map(len, contents[:place])) + number, start, end))
        first = start + len(text[start:end]) - len(text[start:end].lstrip())
        last = start + len(text[start:end].rstrip()) - 1
        for run in rendered[place].runs:
            where = {p.offset + at: p.start + at for p in run if p.message == number for at in range(p.end - p.start)}
            if first <= last and first in where and last in where:
                want.append((row, where[first], where[last] + 1))
    found = Contents(messages).place(*(np.array(column) for column in zip(*ask, strict=True)))
    assert sorted(zip(*(column.tolist() for column in found), strict=True)) == sorted(want)


def test_batches_are_cut_anywhere(tmp_path, monkeypatch):
    """The same bytes, with one record in a batch and with all."""
    mention = {"message": 0, "start": 1, "end": 4}
    records = [
        {"id": str(number), "messages": TALK[: number % 5], "mentions": [mention] * min(number % 5, 1)}
        for number in range(30)
    ]
    path = talks(tmp_path, records, MENTIONED)
    whole = compiled(path, tmp_path / "whole").manifest
    monkeypatch.setattr(reader.read_batches, "__defaults__", (reader.Limits(1, 1), False))
    single = compiled(path, tmp_path / "single").manifest
    assert single.chat == whole.chat and single.rules == whole.rules
    assert shards(tmp_path / "single").to_pylist() == shards(tmp_path / "whole").to_pylist()


def test_a_context_cuts_chats_as_other_texts(tmp_path):
    """No part begins with an added token; a reply that no part holds whole is cut."""
    path = talks(tmp_path)
    path.write_text(path.read_text().replace("context = 64", "context = 9  overflow = split(stride: 1)"))
    found = compiled(path, tmp_path / "out")
    assert [len(ids) for ids in shards(tmp_path / "out")["input_ids"].to_pylist()] == [9, 9, 6]
    assert found.manifest.rules["weigh reply"].splits["train"]["cut"] == 1


def test_the_plan_says_how_messages_become_a_text(tmp_path):
    program = checked(talks(tmp_path, template=TOOLED))
    lowered, _ = prepare(program)
    said = describe(program, lowered)
    assert 'split all "train"; messages .messages, .topic through the chat template of t.jinja; no added tokens' in said
    assert Plan.model_validate_json(json_text(lowered.plan)) == lowered.plan


def test_another_template_is_a_change_that_rebuilds_the_shards(tmp_path):
    def side() -> Side:
        program = checked(tmp_path / "spec.mcd")
        return Side(program, prepare(program)[0])

    talks(tmp_path)
    before = side()
    (tmp_path / "t.jinja").write_text(CHATML + "!")
    (change,) = differences(before, side())
    assert (change.effect, change.subject) == (Effect.SHARDS, "source talk")
    assert change.fact.startswith("text of messages .messages through t.jinja (")


def test_an_older_manifest_has_no_chats(tmp_path):
    found = compiled(talks(tmp_path), tmp_path / "out")
    old = found.manifest.model_dump(mode="json")
    del old["chat"]
    assert Manifest.model_validate(old).chat == {}
