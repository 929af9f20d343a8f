"""What the check gives where nothing is wrong, and limits and inputs that a small program cannot show."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mcd.dsl import checked as c
from mcd.dsl.check import check
from mcd.dsl.check.tokenizer import special_tokens
from mcd.dsl.codes import names, values
from mcd.dsl.render import render_text

MODEL = """
model m { layers = 6  heads = 2  hidden = 8  vocab = 100  causal = true  tokenizer = "tok.json"  context = 64 }
source s = [{text: "a b", label: 1}] { text = .text }
"""


def build(folder: Path, text: str, **options: Path) -> c.Program:
    (folder / "tok.json").write_text("{}")
    (folder / "main.mcd").write_text(f"mcd 1\n{text}\n{MODEL}")
    program, findings = check(folder / "main.mcd", **options)
    assert program is not None, findings.items
    return program


def rule(folder: Path, text: str) -> c.Rule:
    (found,) = build(folder, text).rules
    return found


def subject(folder: Path, text: str) -> c.SpanSet:
    found = rule(folder, f"weigh x: {text} {{ factor = 2 }}")
    assert isinstance(found, c.Weigh)
    return found.subject


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("0%", (0,)),
        ("1%", (1,)),  # at least 1
        ("50%", (3,)),  # floor(3.0 + 0.5)
        ("75%", (5,)),  # floor(4.5 + 0.5): a half rounds up
        ("74.9%", (4,)),  # floor(4.494 + 0.5)
        ("100%", (6,)),
        ("50%..75%", (3, 4, 5)),
        ("4..6", (4, 5, 6)),
        ("-1", (6,)),
        ("-6..-5", (1, 2)),
        ("[4, 2, 2..3, final, 0]", (0, 2, 3, 4, "final")),
        ("final", ("final",)),
    ],
)
def test_layers(tmp_path: Path, written: str, resolved: tuple[c.Layer, ...]) -> None:
    found = rule(tmp_path, f"signal x: tokens {{ layers = {written}  classify = .label  classes = 2 }}")
    assert isinstance(found, c.Classify)
    assert (found.layers.resolved, found.layers.written) == (resolved, written)


@pytest.mark.parametrize(
    ("attributes", "loss", "mass"),
    [
        ("heads = any", "nll", None),
        ("heads = any  mass = 0.6", "hinge", 0.6),
        ("heads = any  loss = kl", "kl", None),
        ("heads = any  mass = 0.6  loss = hinge", "hinge", 0.6),
        ("heads = all  avoid = true", "hinge", 0.0),
        ("heads = all  avoid = true  mass = 0.1", "hinge", 0.1),
    ],
)
def test_loss_and_mass_of_attend(tmp_path: Path, attributes: str, loss: str, mass: float | None) -> None:
    found = rule(tmp_path, f"attend x: tokens -> record {{ layers = 1  {attributes} }}")
    assert isinstance(found, c.Attend)
    assert (found.loss, found.mass) == (loss, mass)


def test_defaults(tmp_path: Path) -> None:
    program = build(
        tmp_path,
        """
concept a { spans = tokens  anchor = orthonormal }
attend tokens -> record { layers = 1  heads = [1, 0] }
signal to: tokens { layers = 1  toward = a.anchor }
signal vec: tokens { layers = 1  toward = .label }
signal what: tokens { layers = 1  classify = .label  classes = ["x", "y"] }
relate a distinct a2 { layers = 1  margin = 0.5 }
concept a2 { anchor = orthonormal }
weigh only: tokens { only = true }
""",
    )
    attend, to, vec, what, relate, only = program.rules
    assert isinstance(attend, c.Attend)
    assert (attend.id, attend.name, attend.heads) == ("attend tokens -> record", None, (0, 1))
    assert (attend.join.pick, attend.join.max_edges, attend.weight, attend.per, attend.lost) == (
        "all",
        64,
        1.0,
        "row",
        "warn",
    )
    assert isinstance(to, c.Toward)
    assert (to.loss, to.pool) == ("cosine", "each")
    assert isinstance(vec, c.Toward)
    assert (vec.loss, vec.target) == ("mse", ("label",))
    assert isinstance(what, c.Classify)
    assert (what.pool, what.classes) == ("last", ("x", "y"))
    assert isinstance(relate, c.Relate)
    assert (relate.id, relate.pool) == ("relate a distinct a2", "mean")
    assert isinstance(only, c.Weigh)
    assert (only.factor, only.only) == (1.0, True)
    assert program.sources[0].split == c.ConstantSplit("train")
    assert program.stages == ()


def test_lost_of_the_model_is_the_default_of_its_rules(tmp_path: Path) -> None:
    rules = "weigh tokens { factor = 2 }\nweigh record { factor = 1  lost = drop }"
    (tmp_path / "tok.json").write_text("{}")
    (tmp_path / "main.mcd").write_text("mcd 1\n" + MODEL.replace("context = 64", "context = 64  lost = error") + rules)
    program, _ = check(tmp_path / "main.mcd")
    assert program is not None
    assert [found.lost for found in program.rules] == ["error", "drop"]


def test_phrases_are_sorted_and_single(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("b\n\n  c \n# not a comment\nb\n")
    found = subject(tmp_path, 'phrases("b", "a", file: "list.txt")')
    assert found == c.Phrases(("# not a comment", "a", "b", "c"))


def test_a_union_of_hundreds_is_shallow(tmp_path: Path) -> None:
    spans = "\n".join(f'span s{i} = phrases("{i}")' for i in range(150))
    program = build(tmp_path, spans + "\nweigh x: " + " | ".join(f"s{i}" for i in range(150)) + " { factor = 2 }")
    (found,) = program.rules
    assert isinstance(found, c.Weigh)
    depth, leaves = 0, [found.subject]
    while any(isinstance(leaf, c.Union) for leaf in leaves):
        leaves = [s for leaf in leaves for s in ((leaf.left, leaf.right) if isinstance(leaf, c.Union) else (leaf,))]
        depth += 1
    assert depth == 8
    assert [leaf.name for leaf in leaves if isinstance(leaf, c.Named)] == [f"s{i}" for i in range(150)]


def test_the_other_operators_group_to_the_left(tmp_path: Path) -> None:
    t, r = c.Tokens(), c.Record()
    assert subject(tmp_path, "tokens - record - tokens") == c.Difference(c.Difference(t, r), t)
    assert subject(tmp_path, "tokens & record & tokens") == c.Intersection(c.Intersection(t, r), t)
    assert subject(tmp_path, "tokens in record in tokens") == c.Within(c.Within(t, r), t)


def test_names_and_members(tmp_path: Path) -> None:
    t = c.Tokens()
    assert subject(tmp_path, "tokens.first.next") == c.Neighbour(c.Edge(t, "first"), "next")
    assert subject(tmp_path, "last(tokens, 2)") == c.Take(t, "last", 2)
    assert subject(tmp_path, "predicting(tokens)") == c.Predicting(t)


def test_conditions_are_flat(tmp_path: Path) -> None:
    found = subject(tmp_path, 'tokens where (text == "a" and index > 1) and not start < 2 and end in [3, 1, 3]')
    this = c.SpanRef("self")
    assert found == c.Filter(
        c.Tokens(),
        c.And(
            (
                c.Compare("==", c.Attr(this, "text"), c.Literal_("a")),
                c.Compare(">", c.Attr(this, "index"), c.Literal_(1)),
                c.Not(c.Compare("<", c.Attr(this, "start"), c.Literal_(2))),
                c.Member(c.Attr(this, "end"), (1, 3)),
            )
        ),
    )


def test_after_is_before_turned_around(tmp_path: Path) -> None:
    found = rule(tmp_path, "attend x: tokens -> tokens where query after key.next { layers = 1  heads = any }")
    assert isinstance(found, c.Attend)
    assert found.join.condition == c.Before(c.SpanRef("key", ("next",)), c.SpanRef("query"))


def test_a_concept_names_its_spans(tmp_path: Path) -> None:
    program = build(
        tmp_path, "concept a { spans = tokens | record }\nspan b = tokens | record\nconcept d { spans = b }"
    )
    a, d = program.concepts
    assert isinstance(a.spans, c.Named)
    assert a.spans.name == "a"
    assert d.spans is program.spans[0]


def test_offsets_of_the_one_field(tmp_path: Path) -> None:
    (tmp_path / "tok.json").write_text("{}")
    (tmp_path / "d.jsonl").write_text("{}\n")
    text = MODEL.split("\n")[1] + '\nsource s = jsonl("d.jsonl") { text = TEXT }\nspan x = offsets(.spans)'
    for template, of in (("{.q}", None), ("Q: {.q}", ("q",))):
        (tmp_path / "main.mcd").write_text("mcd 1\n" + text.replace("TEXT", f'"{template}"'))
        program, findings = check(tmp_path / "main.mcd")
        assert program is not None, findings.items
        assert program.spans[0].base == c.Offsets(("spans",), of)


def test_inline_records_are_json(tmp_path: Path) -> None:
    program = build(tmp_path, 'source t = [{text: "é", n: [1, -2.5, true, null], m: {"a b": "x"}}] { text = .text }')
    (found,) = (source for source in program.sources if source.name == "t")
    assert [json.loads(record) for record in found.records] == [
        {"text": "é", "n": [1, -2.5, True, None], "m": {"a b": "x"}}
    ]


def test_files_of_a_source_are_sorted(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "c.jsonl"):
        (tmp_path / name).write_text("{}\n")
    program = build(tmp_path, 'source t = jsonl("c.jsonl", "?.jsonl") { text = .text }')
    (found,) = (source for source in program.sources if source.name == "t")
    assert [path.name for path in found.files] == ["a.jsonl", "b.jsonl", "c.jsonl"]


def test_template(tmp_path: Path) -> None:
    program = build(tmp_path, r'source t = [{a: 1}] { text = "{{{.a.b}}}\n{.\"odd \u{41}\"}{.a}" }')
    (found,) = (source for source in program.sources if source.name == "t")
    assert found.text.parts == ("{", ("a", "b"), "}\n", ("odd A",), ("a",))


def test_stages_fill_training_time(tmp_path: Path) -> None:
    program = build(
        tmp_path,
        """
weigh w: tokens { factor = 2 }
curriculum {
  stage a 10%   { token_loss = 0.5 }
  stage b 20.5% { w.factor = ramp(1, 0.3, cosine) }
  stage c 69.5% { only = [] }
}
""",
    )
    a, b, last = program.stages
    assert [(stage.start, stage.end) for stage in program.stages] == [(0.0, 0.1), (0.1, 0.305), (0.305, 1.0)]
    assert a.token_loss == c.Ramp(0.5, 0.5)
    assert b.factors == (("w", c.Ramp(1.0, 0.3, "cosine")),)
    assert last.only == ()


def test_imported_rules_and_concepts_carry_their_alias(tmp_path: Path) -> None:
    (tmp_path / "lib.mcd").write_text(
        "mcd 1\nconcept a { spans = tokens }\nweigh w: tokens { factor = 2 }\nweigh record { factor = 3 }\n"
    )
    program = build(tmp_path, 'import "lib.mcd" as lib\nweigh w: record { factor = 2 }\nweigh record { factor = 3 }')
    assert [found.id for found in program.rules] == ["w", "weigh record", "lib.w", "lib.weigh record"]
    assert [found.name for found in program.concepts] == ["lib.a"]


def test_unnamed_ids_leave_comments_out(tmp_path: Path) -> None:
    found = rule(tmp_path, 'weigh tokens # why\n  - (tokens where text == "#") { factor = 2 }')
    assert found.id == 'weigh tokens - (tokens where text == "#")'


def test_another_model_replaces_the_numbers(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "n_layer": 12, "n_head": 4, "n_embd": 32, "vocab_size": 50}
    (tmp_path / "other.json").write_text(json.dumps(config))
    program = build(
        tmp_path,
        "signal x: tokens { layers = 50%  classify = .label  classes = 2 }",
        model=tmp_path / "other.json",
    )
    (found,) = program.rules
    assert isinstance(found, c.Classify)
    assert found.layers.resolved == (6,)
    assert (program.model.layers, program.model.hidden, program.model.context) == (12, 32, 64)


def test_files_that_the_program_depends_on(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("x\n")
    program = build(tmp_path, 'span x = phrases(file: "list.txt")')
    assert [path.name for path in program.files] == ["main.mcd", "list.txt"]


def test_rendered(tmp_path: Path) -> None:
    (tmp_path / "tok.json").write_text("{}")
    (tmp_path / "main.mcd").write_text(
        "mcd 1\n"
        'source u = [{a: 1}] { text = "{.a}\\t{b}" }\n'
        "signal x: tokens { layers = 50%..8  classify = .a  classes = 2  classes = 3 }" + MODEL
    )
    found = render_text(check(tmp_path / "main.mcd")[1].items)
    assert found == RENDERED


RENDERED = """\
error[MCD305]: `{b}` is no slot
 --> main.mcd:2:37
  |
2 | source u = [{a: 1}] { text = "{.a}\\t{b}" }
  |                                     ^^^
help: write `{.b}`

error[MCD407]: no layer 8: the model `m` has layers 0..6
 --> main.mcd:3:34
  |
3 | signal x: tokens { layers = 50%..8  classify = .a  classes = 2  classes = 3 }
  |                                  ^

error[MCD212]: `classes` is given twice
 --> main.mcd:3:65
  |
3 | signal x: tokens { layers = 50%..8  classify = .a  classes = 2  classes = 3 }
  |                                                                 ^^^^^^^
 ::: main.mcd:3:52
  |
3 | signal x: tokens { layers = 50%..8  classify = .a  classes = 2  classes = 3 }
  |                                                    ------- first given here

3 errors in 1 file
"""


# --- limits ----------------------------------------------------------------------------------------------------------


def only_error(folder: Path, text: str) -> str:
    (folder / "tok.json").write_text("{}")
    (folder / "main.mcd").write_text(f"mcd 1\n{text}\n{MODEL}")
    program, findings = check(folder / "main.mcd")
    assert program is None
    return findings.items[0].code.id


def test_definitions_nested_too_deep(tmp_path: Path) -> None:
    text = "span s0 = tokens\n" + "\n".join(f"span s{i} = s{i - 1}.first" for i in range(1, 2000))
    assert only_error(tmp_path, text) == values.NESTED_TOO_DEEP.id


@pytest.mark.parametrize("step", ["[$l{}]", "$l{} + 1" + " + 1" * 90])
def test_constants_nested_too_deep(tmp_path: Path, step: str) -> None:
    text = "let l0 = 1\n" + "\n".join(f"let l{i} = {step.format(i - 1)}" for i in range(1, 300))
    assert only_error(tmp_path, text + "\nweigh tokens { factor = $l299 }") == values.TOO_LARGE.id


def test_the_deepest_spec_that_parses_is_checked(tmp_path: Path) -> None:
    lets = "let l0 = [1]\n" + "\n".join(f"let l{i} = [$l{i - 1}]" for i in range(1, 95))
    nested = "[" * 95 + "$l94" + "]" * 95
    program = build(
        tmp_path,
        f"{lets}\nsource t = [{{a: {nested}}}] {{ text = .a }}\n"
        f"span x = tokens where {'not ' * 190}index == 1\nspan y = {'first(' * 95}tokens{', 1)' * 95}\n"
        f"weigh z: tokens {{ factor = {'1 + ' * 190}1 }}",
    )
    assert len(program.sources) == 2


def test_definitions_that_double(tmp_path: Path) -> None:
    text = "span s0 = tokens\n" + "\n".join(f"span s{i} = s{i - 1} | s{i - 1}" for i in range(1, 40))
    start = time.perf_counter()
    assert only_error(tmp_path, text) == values.TOO_LARGE.id
    assert time.perf_counter() - start < 5


def test_more_data_files_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcd.dsl.check.files.MAX_DATA_FILES", 1)
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("{}\n")
    assert only_error(tmp_path, 'source t = jsonl("*.jsonl") { text = .text }') == names.TOO_MANY_FILES.id


def test_a_thousand_concepts(tmp_path: Path) -> None:
    """Checking is linear: it takes about half a second here."""
    save_file({f"w{i}": np.ones(8, np.float32) for i in range(1000)}, tmp_path / "v.safetensors")
    anchor = 'vector("v.safetensors", "w{i}")'
    lines = [f'concept c{i} {{ spans = phrases("w{i}")  anchor = {anchor.format(i=i)} }}' for i in range(1000)]
    lines += [f"relate c{i} is_a c{i // 2} {{ layers = 50%  margin = 0.3 }}" for i in range(2, 1000)]
    start = time.perf_counter()
    program = build(tmp_path, "\n".join(lines))
    assert (len(program.concepts), len(program.rules)) == (1000, 998)
    assert time.perf_counter() - start < 20


def test_a_source_knows_which_of_its_slots_are_marked_up(tmp_path: Path) -> None:
    """By the sets that apply to it, read by a rule or not; a constant that nothing names is no set."""
    program = build(
        tmp_path,
        """source t = [{text: "x", more: "y"}] { text = "{.text} {.more}" }
source u = [{other: "x"}] { text = .other }
span a of t = markup(.more)
span b = markup(.text) where label == "x"
let c = markup(.other)
""",
    )
    marked = {source.name: source.marked for source in program.sources}
    assert marked == {"s": (("text",),), "t": (("more",), ("text",)), "u": ()}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{", None),
        ("[]", None),
        ('{"added_tokens": [{}]}', None),
        ('{"added_tokens": null, "post_processor": null}', set()),
        ('{"added_tokens": [{"content": "<a>"}, {"content": "b"}]}', {"<a>", "b"}),
        ('{"post_processor": {"special_tokens": {"<s>": {"id": "<s>", "tokens": ["<s>", "<t>"]}}}}', {"<s>", "<t>"}),
        ('{"post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}}', {"<s>", "</s>"}),
        ('{"post_processor": {"processors": [{"type": "ByteLevel"}, {"cls": ["<s>", 0]}]}}', {"<s>"}),
    ],
)
def test_special_tokens_of_a_tokenizer_file(tmp_path: Path, content: str, found: set[str] | None) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    assert special_tokens(path) == found
    assert special_tokens(tmp_path / "none.json") is None


def test_a_tokenizer_that_cannot_be_read_says_nothing_about_its_tokens(tmp_path: Path) -> None:
    (tmp_path / "tok.json").write_text("{")
    (tmp_path / "main.mcd").write_text(f'mcd 1\nspan a = special("b", "<s>", "b")\n{MODEL}')
    program, findings = check(tmp_path / "main.mcd")
    assert findings.items == []
    assert program is not None
    assert program.spans[0].base == c.Special(("<s>", "b"))
