"""What changes between two specs, by what it costs; and what compiling again would reuse."""

import pytest

from mcd.compiler.chart import chart
from mcd.compiler.difference import Effect, Side, differences
from mcd.compiler.prepare import prepare
from mcd.compiler.rebuild import rebuild

from ..projects import checked, compiled, project

RECORDS = [{"id": "a", "text": "the cat saw a dog", "kind": 1, "other": 1}]
SPEC = """source s = jsonl("data.jsonl") { id = .id  split = hash(train: 90%, valid: 10%)  text = "{.text}" }
span cat = phrases("cat")
span dog = phrases("dog")
concept animal { spans = cat  anchor = orthonormal }
weigh boost: cat { factor = 2 }
attend look: dog -> cat where key before query { layers = 1..2  heads = any }
signal kind: dog { layers = 3  classify = .kind  classes = 2 }
signal near: dog { layers = 2  toward = animal.anchor }
curriculum {
  stage first 25% { only = [boost] }
  stage rest 75% { look.factor = ramp(1, 0.5, cosine) }
}
expect coverage(cat) >= 1
expect trained mass(look) >= 0.5
"""


@pytest.fixture
def changes(tmp_path):
    """The changes that replacing words of SPEC makes, as (effect, subject, fact)."""

    def side(folder, spec):
        (tmp_path / folder).mkdir(exist_ok=True)
        program = checked(project(tmp_path / folder, spec, RECORDS))
        return Side(program, prepare(program)[0])

    def made(*edits, model=()):
        new = SPEC
        for old_words, new_words in edits:
            assert old_words in new
            new = new.replace(old_words, new_words)
        return [(c.effect, c.subject, c.fact) for c in differences(side("old", SPEC), side("new", new))]

    return made


SPLIT = "hash(train: 90%, valid: 10%)"
P, S, B = Effect.PLAN, Effect.SHARDS, Effect.BREAKING


def test_the_order_of_declarations_comments_and_names_of_spans_are_no_change(changes):
    lines = SPEC.splitlines(keepends=True)
    swapped = "".join([lines[0], *reversed(lines[1:5]), *lines[5:]])
    assert changes((SPEC, "# words\n" + swapped)) == []
    assert changes(("cat = phrases", "tom = phrases"), (" cat", " tom"), ("(cat", "(tom")) == [
        (P, "expect coverage(cat) of train", "removed"),
        (P, "expect coverage(tom) of train", "added"),
    ]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (("factor = 2", "factor = 3"), [(P, "rule boost", "factor 2 -> 3")]),
        (("layers = 1..2", "layers = 50%"), [(P, "rule look", "layers [1, 2] -> [2]")]),
        (("heads = any", "heads = [0]  mass = 0.5"), None),
        (("boost: cat", "raise: cat"), None),
        (("1, 0.5, cosine", "1, 0.25, cosine"), None),
        ((">= 1\n", ">= 2\n"), [(P, "expect coverage(cat) of train", ">= 1 -> >= 2")]),
        ((">= 0.5", ">= 0.75"), [(P, "expect trained mass(look) of train", ">= 0.5 -> >= 0.75")]),
        (
            ("mass(look)", "gain(mass(look), over: off)"),
            [
                (P, "expect trained mass(look) of train", "removed"),
                (P, "expect trained gain(mass(look), over: off) of train", "added"),
            ],
        ),
        (("orthonormal", "learned"), None),
        (("classes = 2", "classes = 3"), [(P, "rule kind", "classes 2 -> 3")]),
        (("only = [boost]", "only = [boost]  depth = 1"), [(P, "stage first", "depth none -> 1")]),
        (
            ("weigh boost", "gradient { stop = 1 }\nweigh boost"),
            [(P, "gradient", "none -> {scale: [], stop: [1], conflicts: sum}")],
        ),
        (
            ("factor = 2", 'factor = 1 - measure("ref", loss)'),
            [(P, "rule boost", "factor 2 -> none"), (P, "rule boost", 'score none -> 1 - measure("ref", loss)')],
        ),
        (
            ("curriculum {", "curriculum {\n  mix = {s: 100%}  order = -length"),
            [(P, "mix", "{} -> {s: 1}"), (P, "order", "none -> -length")],
        ),
    ],
)
def test_what_only_the_plan_says(changes, edit, expected):
    edits = [edit] if edit[0] != "boost: cat" else [edit, ("[boost]", "[raise]")]
    found = changes(*edits)
    assert found and {effect for effect, *_ in found} == {P}
    assert expected is None or found == expected


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (('text = "{.text}"', 'text = "so {.text}"'), [(S, "source s", "text '{.text}' -> 'so {.text}'")]),
        (
            ("train: 90%, valid: 10%", "train: 80%, valid: 20%"),
            [(S, "source s", f"split {SPLIT} -> hash(train: 80%, valid: 20%)")],
        ),
        (
            ('dog = phrases("dog")', 'dog = phrases("dog", "bird")'),
            [
                (S, "edges dog -> cat where key before query", "redefined: a set that it reads is another"),
                (S, "set dog", "redefined: a set that it reads is another"),
            ],
        ),
        (
            ("weigh boost: cat {", "weigh more: cat | dog { factor = 3 }\nweigh boost: cat {"),
            [(S, "set cat | dog", "stored as well"), (P, "rule more", "added: weigh")],
        ),
    ],
)
def test_what_compiles_the_shards_again(changes, edit, expected):
    assert sorted(changes(edit)) == sorted(expected)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (("id = .id  ", ""), (B, "source s", "id .id -> the record's number: records are called otherwise")),
        (
            ("train: 90%, valid: 10%", "train: 90%, test: 10%"),
            (B, "source s", f"split {SPLIT} -> hash(train: 90%, test: 10%): no more valid"),
        ),
        ((" where key before query", ""), (B, "column edge.set", "no longer stored")),
        (("classify = .kind", "classify = .other"), (B, "column field.kind", "no longer stored")),
        (("classes = 2", 'classes = ["a", "b"]'), (B, "column field.kind", "class -> label")),
        (("source s =", "source t ="), (B, "source s", "removed")),
    ],
)
def test_what_breaks_readers_comes_first(changes, edit, expected):
    found = changes(edit)
    assert expected in found
    assert [effect for effect, *_ in found] == sorted((effect for effect, *_ in found), reverse=True)


def test_a_chart_of_the_schedule(tmp_path):
    """Over 8 columns the first stage takes 2. `look` is 1 to 0.5 by half a cosine over 6 columns, drawn by its middles:
    0.5 + 0.5 (1 + cos(pi s)) / 2 at s = 1/12, 3/12, ... is 0.99, 0.93, 0.81, 0.69, 0.57, 0.51;
    as sevenths of 0.99, rounded: 7, 7, 6, 5, 4, 4."""
    plan = prepare(checked(project(tmp_path, SPEC, RECORDS)))[0].plan
    assert chart(plan, 8) == [
        "            |f|rest",
        "token loss  ████████  at most 1",
        "boost       ████████  at most 1",
        "look        ··██▇▆▅▅  at most 0.991",
        "kind, near  ··██████  at most 1",
    ]


def test_what_compiling_again_would_reuse(tmp_path):
    path, out = project(tmp_path, SPEC, RECORDS), tmp_path / "out"

    def again():
        program = checked(path)
        found = rebuild(program, prepare(program)[0], out)
        return found.kept, found.reasons

    assert again() == (False, ("there is no dataset yet",))
    compiled(path, out)
    assert again() == (True, ())
    text = path.read_text()
    path.write_text(text.replace("factor = 2", "factor = 3"))
    assert again() == (True, ())
    path.write_text(text.replace("context = 16", "context = 8").replace('phrases("dog")', 'phrases("dog", "bird")'))
    kept, reasons = again()
    assert not kept and "context 16 -> 8" in reasons
    assert {"set not stored yet: dog", "set no longer read: dog"} <= set(reasons)
    path.write_text(text)
    (tmp_path / "data.jsonl").write_text('{"id": "b", "text": "a dog", "kind": 0}\n')
    assert again() == (False, ("other content in `data.jsonl`",))


def test_what_was_not_counted_is_said_and_counted_anew(tmp_path):
    """Edges forward in time are no rows of a causal model, and rows of another; a label is one of so many classes."""
    path, out = project(tmp_path, SPEC.replace("key before query", "key.end != query.start"), RECORDS), tmp_path / "out"
    text = path.read_text()
    for edit, reason in [
        (("causal = true", "causal = false"), "edges were counted for a causal model"),
        (("classes = 2", "classes = 3"), "labels or rows of `kind` were not counted"),
    ]:
        path.write_text(text)
        before = compiled(path, out)
        path.write_text(text.replace(*edit))
        program = checked(path)
        assert rebuild(program, prepare(program)[0], out).reasons == (reason,)
        after = compiled(path, out)
        assert not after.reused
        assert after.manifest.shards == before.manifest.shards
    assert after.manifest.causal is True and before.manifest.causal is True


def test_rows_are_counted_for_the_model_at_hand(tmp_path):
    """`cat` stands before `dog`: of cat -> dog a causal model has no row, another has one."""
    spec = SPEC.replace(
        "attend look: dog -> cat where key before query", "attend look: cat -> dog where key.text != query.text"
    )
    path, out = project(tmp_path, spec, RECORDS), tmp_path / "out"
    assert compiled(path, out).manifest.rules["look"].total("rows") == 0
    path.write_text(path.read_text().replace("causal = true", "causal = false"))
    assert compiled(path, out).manifest.rules["look"].total("rows") == 1
