"""Frames and settings: what they check to, what findings show, and where an expansion ends."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mcd.dsl import checked as c
from mcd.dsl.canonical import digest
from mcd.dsl.check import check
from mcd.dsl.codes import names, syntax, values
from mcd.dsl.diagnostics import Diagnostic
from mcd.dsl.render import render_text
from mcd.dsl.source import Place

from ..projects import checked, project

MODEL = """
model m { layers = 6  heads = 2  hidden = 8  vocab = 100  causal = true  tokenizer = "tok.json"  context = 64 }
source s = [{text: "a b", label: 1, mentions: []}] { text = .text }
span mention = offsets(.mentions)
span pronoun = mention where kind == "pronoun"
span noun = mention - pronoun
"""
BINDING = """frame binding(holder: span, value: span, depth: layers = 50%) {
  attend copy: $holder -> $value where key before query { layers = $depth  heads = any  weight = 0.5 }
  signal same: $holder { layers = $depth  classify = kind  classes = 2 }
  span held = $value.last where index > 0
  weigh held { factor = 2 }
}
"""


def write(folder: Path, text: str) -> Path:
    (folder / "tok.json").write_text("{}")
    (folder / "main.mcd").write_text(f"mcd 1\n{text}{MODEL}")
    return folder / "main.mcd"


def build(folder: Path, text: str, *settings: str) -> c.Program:
    program, findings = check(write(folder, text), settings=settings)
    assert program is not None, findings.items
    return program


def found(folder: Path, text: str, *settings: str) -> list[Diagnostic]:
    program, findings = check(write(folder, text), settings=settings)
    assert program is None
    return findings.items


def marked(diagnostic: Diagnostic) -> tuple[str, str, str]:
    assert isinstance(diagnostic.place, Place)
    return diagnostic.code.id, diagnostic.place.source.path, diagnostic.place.text


# --- what a use declares ---------------------------------------------------------------------------------------------


def test_rules_carry_the_alias(tmp_path: Path) -> None:
    program = build(
        tmp_path,
        BINDING
        + "use binding(pronoun, noun, depth: 2..3) as anaphora\nuse binding(noun, pronoun) as back\nlet x = 1\n",
    )
    assert [(rule.id, rule.name) for rule in program.rules] == [
        ("anaphora.copy", "anaphora.copy"),
        ("anaphora.same", "anaphora.same"),
        ("anaphora.weigh held", None),
        ("back.copy", "back.copy"),
        ("back.same", "back.same"),
        ("back.weigh held", None),
    ]
    assert [rule.layers.resolved for rule in program.rules if not isinstance(rule, c.Weigh)] == [(2, 3)] * 2 + [
        (3,)
    ] * 2
    assert {spans.name for spans in program.spans} == {"mention", "pronoun", "noun", "anaphora.held", "back.held"}


def test_a_frame_means_what_it_is_written_out_to(tmp_path: Path) -> None:
    """The sets of a frame have the digests of the same sets written by hand."""
    used = build(tmp_path, BINDING + "use binding(pronoun, noun) as anaphora\n")
    by_hand = build(
        tmp_path,
        """
attend copy: pronoun -> noun where key before query { layers = 50%  heads = any  weight = 0.5 }
signal same: pronoun { layers = 50%  classify = kind  classes = 2 }
span held = noun.last where index > 0
weigh held { factor = 2 }
""",
    )
    copy, same, boost = used.rules
    other_copy, other_same, other_boost = by_hand.rules
    assert isinstance(copy, c.Attend) and isinstance(other_copy, c.Attend)
    assert isinstance(same, c.Classify) and isinstance(other_same, c.Classify)
    assert isinstance(boost, c.Weigh) and isinstance(other_boost, c.Weigh)
    assert copy.join == other_copy.join
    assert digest(copy.join) == digest(other_copy.join)
    assert digest(same.subject) == digest(other_same.subject)
    assert digest(boost.subject) == digest(other_boost.subject)


def test_an_argument_is_one_object(tmp_path: Path) -> None:
    text = "frame f(s: span) {\n weigh a: $s { factor = 2 }\n weigh b: ($s) { factor = 2 }\n}\nuse f(noun | pronoun) as x\n"
    a, b = build(tmp_path, text).rules
    assert isinstance(a, c.Weigh) and isinstance(b, c.Weigh)
    assert a.subject is b.subject


def test_frames_of_an_imported_file(tmp_path: Path) -> None:
    """A frame sees the names and the folder of its own file, an argument those of the file that has the `use`."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "words.txt").write_text("hence\n")
    (tmp_path / "words.txt").write_text("so\n")
    (tmp_path / "lib" / "cues.mcd").write_text(
        "mcd 1\nlet depth: layers = 2\nframe cue(file: string, depth: layers = $depth) {\n"
        '  span own = phrases(file: "words.txt")\n  span given = phrases(file: $file)\n'
        "  signal both: own | given { layers = $depth  classify = .label  classes = 2 }\n}\n"
        'frame twice() { use cue("words.txt") as one  use cue("words.txt", depth: 3) as two }\nuse twice as lib\n'
    )
    program = build(
        tmp_path,
        'import "lib/cues.mcd" as cues\nuse cues.cue("words.txt") as here\n'
        "curriculum { stage all 100% { here.both.factor = 2  cues.lib.two.both.factor = 0 } }\n",
    )
    assert [rule.id for rule in program.rules] == ["here.both", "cues.lib.one.both", "cues.lib.two.both"]
    assert [rule.layers.resolved for rule in program.rules if isinstance(rule, c.Classify)] == [(2,), (2,), (3,)]
    phrases = {spans.name: spans.base for spans in program.spans if isinstance(spans.base, c.Phrases)}
    assert phrases["here.own"] == c.Phrases(("hence",))
    assert phrases["here.given"] == c.Phrases(("so",))
    assert phrases["cues.lib.one.given"] == c.Phrases(("hence",))
    assert [name for name, _ in program.stages[0].factors] == ["cues.lib.two.both", "here.both"]


def test_a_frame_on_trial_gives_nothing(tmp_path: Path) -> None:
    anchors = " ".join(f"concept c{i} {{ spans = tokens  anchor = orthonormal }}" for i in range(9))
    program = build(tmp_path, f"frame f(n: number) {{ {anchors}  span x = c1  weigh x {{ factor = $n }} }}\n")
    assert (program.rules, program.concepts) == ((), ())
    assert [spans.name for spans in program.spans] == ["mention", "pronoun", "noun"]


def test_typed_constants_of_every_type(tmp_path: Path) -> None:
    program = build(
        tmp_path,
        """
let to: vector = goal.anchor
let what: attribute = kind
let idea: concept = goal
let rule: rule = a
concept goal { spans = tokens  anchor = orthonormal }
signal a: $idea { layers = 1  toward = $to }
signal b: mention { layers = 1  classify = $what  classes = 2 }
curriculum { stage one 100% { only = [$rule] } }
""",
    )
    assert program.stages[0].only == ("a",)


# --- what findings show ----------------------------------------------------------------------------------------------


def test_a_finding_in_an_expansion_shows_its_uses(tmp_path: Path) -> None:
    text = (
        "frame inner(words: span, depth: layers) {\n  attend look: $words -> tokens { layers = $depth  heads = any }\n}\n"
        "frame outer(words: span) { use inner($words, depth: final) as deep }\n"
        "use outer(noun) as x\n"
    )
    assert render_text(found(tmp_path, text)) == RENDERED


RENDERED = """\
error[MCD407]: attention has layers 1..6 of the model `m`, found final
 --> main.mcd:3:44
  |
3 |   attend look: $words -> tokens { layers = $depth  heads = any }
  |                                            ^^^^^^
 ::: main.mcd:5:32
  |
5 | frame outer(words: span) { use inner($words, depth: final) as deep }
  |                                --------------------------- `inner` is used here
 ::: main.mcd:6:5
  |
6 | use outer(noun) as x
  |     ----------- `outer` is used here

1 error in 1 file
"""


def test_a_wrong_argument_shows_its_parameter(tmp_path: Path) -> None:
    (only,) = found(tmp_path, BINDING + "use binding(pronoun, 50%) as anaphora\n")
    assert marked(only) == (values.WRONG_TYPE.id, "main.mcd", "50%")
    assert only.message == "expected a span set because `value` takes span sets, found the percentage `50%`"
    (related,) = only.related
    assert (related.place.text, related.message) == ("value", "parameter `value` takes span sets")


def test_missing_and_unknown_arguments_show_the_frame(tmp_path: Path) -> None:
    missing, unknown = found(
        tmp_path, BINDING + "use binding(pronoun) as a\nuse binding(pronoun, noun, dept: 1) as b\n"
    )
    assert marked(missing) == (names.MISSING_ARGUMENT.id, "main.mcd", "binding(pronoun)")
    assert [related.place.text for related in missing.related] == ["value: span"]
    assert marked(unknown) == (names.UNKNOWN_ARGUMENT.id, "main.mcd", "dept: 1")
    assert unknown.help == "did you mean `depth`?"
    assert [related.place.text for related in unknown.related] == ["binding"]


def test_alike_findings_are_one_and_show_four_uses(tmp_path: Path) -> None:
    uses = "".join(
        f"use f({name}) as x{i}\n" for i, name in enumerate(["noun", "pronoun", "mention", "tokens", "record"])
    )
    (only,) = found(tmp_path, "frame f(s: span) { weigh $s { factor = -1 } }\n" + uses)
    assert [related.place.text for related in only.related] == ["f(noun)", "f(pronoun)", "f(mention)", "f(tokens)"]


def test_rules_of_a_frame_that_contradict_show_their_uses(tmp_path: Path) -> None:
    (only,) = found(
        tmp_path,
        "frame bound(to: span) { attend look: tokens -> $to { layers = 1  heads = [0]  mass = 0.6 } }\n"
        'use bound(phrases("a")) as a\nuse bound(phrases("b")) as b\n',
    )
    assert only.code is values.BOUNDS_CLASH
    assert sorted(related.place.text for related in only.related) == [
        'bound(phrases("a"))',
        'bound(phrases("b"))',
        "look",
    ]


# --- limits ----------------------------------------------------------------------------------------------------------

RULE = "frame f0(s: span) { weigh x: $s { factor = 1 } }\n"


def frames(count: int, body: str) -> str:
    return RULE + "".join(f"frame f{i}(s: span) {{ {body.format(i - 1)} }}\n" for i in range(1, count))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (frames(40, "use f{0}($s) as a  use f{0}($s) as b") + "use f39(tokens) as bomb\n", values.TOO_LARGE),
        (frames(40, "use f{0}($s) as a  use f{0}($s) as b"), values.TOO_LARGE),
        (frames(90, "use f{0}($s | $s) as a") + "use f89(tokens) as bomb\n", values.TOO_LARGE),
        (
            frames(90, "use f{0}($s + $s) as a")
            .replace("s: span", "s: number")
            .replace("weigh x: $s { factor = 1 }", "weigh x: tokens { factor = $s }")
            + "use f89(1) as bomb\n",
            values.TOO_LARGE,
        ),
        (frames(3000, "use f{0}($s) as a") + "use f2999(tokens) as bomb\n", values.NESTED_TOO_DEEP),
        (RULE + "".join(f"use f0(tokens) as a{i}\n" for i in range(6000)), values.TOO_LARGE),
        ("".join(f"frame f{i}() {{ use f{(i + 1) % 2000}() as a }}\n" for i in range(2000)), names.NAME_CYCLE),
    ],
    ids=["doubling", "doubling unused", "growing sets", "growing numbers", "deep", "many uses", "a long circle"],
)
def test_a_bomb_ends_in_a_diagnostic(tmp_path: Path, text: str, code: object) -> None:
    start = time.process_time()
    items = found(tmp_path, text)
    assert time.process_time() - start < 2
    assert items[0].code is code
    assert len(items) <= 2


def test_what_is_below_the_limits_checks(tmp_path: Path) -> None:
    doubled = frames(11, "use f{0}($s) as a  use f{0}($s) as b") + "use f10(tokens) as x\n"
    assert len(build(tmp_path, doubled).rules) == 1024
    assert len(build(tmp_path, frames(100, "use f{0}($s) as a") + "use f99(tokens) as x\n").rules) == 1


# --- settings --------------------------------------------------------------------------------------------------------

LETS = """let middle: layers = 50%..75%
let weight = 0.2
let share = 50%
let heads = [0, 1]
let cue: span = phrases("because")
let file = "words.txt"
let label = .label
let how = nearest
attend look: $cue -> tokens { layers = $middle  heads = $heads  weight = $weight  pick = $how }
"""


def test_settings_replace_constants(tmp_path: Path) -> None:
    program = build(tmp_path, LETS, "middle=60%", " weight = 2 * 0.25 ", "heads=[1]", "cue=noun.last", "how=first")
    (rule,) = program.rules
    assert isinstance(rule, c.Attend)
    assert (rule.layers, rule.weight, rule.heads, rule.join.pick) == (c.Layers((4,), "60%"), 0.5, (1,), "first")
    assert rule.layers.written == "60%"
    assert isinstance(rule.join.query, c.Edge)
    assert program.settings == (
        ("cue", "noun.last"),
        ("heads", "[1]"),
        ("how", "first"),
        ("middle", "60%"),
        ("weight", "2 * 0.25"),
    )


def test_a_setting_reaches_frames(tmp_path: Path) -> None:
    program = build(
        tmp_path, "let depth = 1\n" + BINDING + "use binding(noun, pronoun, depth: $depth) as x\n", "depth=2"
    )
    assert isinstance(program.rules[0], c.Attend)
    assert program.rules[0].layers.resolved == (2,)


@pytest.mark.parametrize(
    ("setting", "code", "underlined", "message"),
    [
        ("middle=x", values.WRONG_TYPE, "x", "expected layer numbers because `middle` takes layer numbers, found `x`"),
        ("middle = 3..9", None, "9", "no layer 9: the model `m` has layers 0..6"),
        ("weight=20%", values.WRONG_TYPE, "20%", "because `weight` takes numbers, found the percentage `20%`"),
        ("weight=-1", values.OUT_OF_BOUNDS, "-1", "`weight` must be at least 0, found `-1`"),
        ("share=0.5", values.WRONG_TYPE, "0.5", "because `share` takes percentages"),
        ("heads=0", values.WRONG_TYPE, "0", "expected a list because `heads` takes lists"),
        ("heads=[0, 7]", None, "7", "no head 7"),
        ("cue=50%", values.WRONG_TYPE, "50%", "expected a span set because `cue` takes span sets"),
        ("cue=nuon", names.UNKNOWN_NAME, "nuon", "no span or concept `nuon`"),
        ("file=words", values.WRONG_TYPE, "words", "expected a string"),
        ("label=label", values.WRONG_TYPE, "label", "expected a field"),
        ("how=nearst", values.UNKNOWN_WORD, "nearst", "`pick` is"),
        ("midle=60%", names.UNKNOWN_NAME, "midle", "no constant `midle` in `main.mcd`"),
        ("noun=60%", values.WRONG_TYPE, "noun", "expected a constant, found `noun`, a span"),
        ("weight=$weight", names.NAME_CYCLE, "$weight", "`weight` -> `weight`"),
        ("weight=2 3", syntax.SYNTAX, "3", "found `3`"),
        ("weight=", syntax.SYNTAX, "", "expected a value after `=`"),
        ("weight=1\nspan x = noun", syntax.SYNTAX, "span", "a setting is one value"),
        ("weight=" + "[" * 300, syntax.TOO_DEEP, "[", "more than 100 brackets"),
        ("weight==1", names.BAD_SETTING, "weight==1", "expected `NAME=VALUE`"),
        ("weight", names.BAD_SETTING, "weight", "expected `NAME=VALUE`"),
    ],
)
def test_a_bad_setting_is_underlined_in_it(
    tmp_path: Path, setting: str, code: object, underlined: str, message: str
) -> None:
    (only,) = found(tmp_path, LETS, setting)
    assert isinstance(only.place, Place)
    assert only.place.source.path.startswith("--set")
    assert (only.place.source.text, only.place.text) == (setting, underlined)
    assert message in only.message
    assert code is None or only.code is code
    assert render_text([only]).count(" --> --set") == 1


def test_a_setting_twice(tmp_path: Path) -> None:
    (only,) = found(tmp_path, LETS, "weight=1", "weight=2")
    assert marked(only) == (names.BAD_SETTING.id, "--set weight", "weight")
    assert [related.place.source.text for related in only.related] == ["weight=1"]


def test_a_wrong_setting_shows_its_constant(tmp_path: Path) -> None:
    (only,) = found(tmp_path, LETS, "middle=x")
    assert [(related.place.source.path, related.place.text) for related in only.related] == [("main.mcd", "middle")]
    assert only.help is not None
    (near,) = found(tmp_path, LETS, "wieght=1")
    assert near.help == "did you mean `weight`?"


def test_a_frame_that_nobody_uses_marks_nothing_up(tmp_path):
    """`markup` takes its marks out of the text; a frame on trial must not change what is read."""
    spec = 'source s = [{text: "a [[b|c]]"}] { text = .text }\n'
    spec += "frame f(n: number) {\n  span m = markup(.text)\n  weigh m { factor = $n }\n}\n"
    unused = checked(project(tmp_path, spec + "weigh tokens { factor = 1 }\n"))
    used = checked(project(tmp_path, spec + "use f(2) as g\n"))
    assert ([s.marked for s in unused.sources], [s.marked for s in used.sources]) == ([()], [(("text",),)])
