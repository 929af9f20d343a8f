"""Lowering: what the plan and the recipe hold, how it reads, and that the verifier sees what is broken."""

from pathlib import Path

import pytest

from mcd.compiler.describe import describe
from mcd.compiler.plan import AttendPlan, GradientPlan, Plan, SpanSetRef, ThroughPlan
from mcd.compiler.prepare import prepare
from mcd.compiler.recipe import AheadCheck, ContrastCheck, LabelCheck
from mcd.compiler.verify import broken_invariants

from ..projects import checked, project

SPEC = """source s = jsonl("data.jsonl") {
  id = .id
  split = hash(train: 90%, valid: 10%)
  text = "{.question} because {.answer}"
}
span answer = slot(.answer)
span cat = phrases("cat", "dog", "bird", "red bird")
span mention = offsets(.mentions, of: .question)
span word = regex("[a-z]+") in answer

concept animal { spans = cat  anchor = orthonormal }
concept thing { spans = word  anchor = orthonormal }

attend look: mention -> mention where query.kind == key.kind and key before query {
  pick = nearest  layers = 50%  heads = any  mass = 0.6  weight = 0.5
}
attend tie: word -> cat where linked(.links, query.index, key.index) and key before query {
  at = [[1, 0], [75%, 1]]  loss = kl
}
attend shun: word -> cat { layers = 1..2  heads = [0, 1]  avoid = true  mass = 0.1  per = record }
signal axis: animal { layers = 2..4  toward = thing.anchor  weight = 0.2 }
signal kind: mention { layers = final  classify = kind  classes = ["person", "place"] }
signal digit: tokens { layers = 0  classify = .digits  classes = 10  pool = each }
signal group: mention { layers = 50%  contrast = kind  scope = batch }
signal early: tokens { layers = 1..2  predict = next(1)  through = mlp(hidden: 4) }
signal told: cat { layers = 2  predict = .word  pool = last }
signal wide: cat { layers = 3  toward = .v  through = linear(width: 5) }
relate animal is_a thing { layers = 50%  margin = 0.3  weight = 0.1 }
concept pole { anchor = learned }
relate turn: animal -> thing like pole -> thing { layers = 3  weight = 0.5 }
weigh answer { factor = 4 }
weigh soft: cat { factor = .importance  only = true }

gradient { scale = {0: 0.25, 1..2: 0.5, final: 0.25}  stop = 1  conflicts = project }
curriculum {
  stage first 25% { only = [axis]  token_loss = 0.5  depth = 100%  train = [0, 3..4, final] }
  stage rest 75% { look.factor = ramp(1, 0.25, cosine)  axis.factor = 0 }
}
expect coverage(animal) >= 100
expect trained mass(shun, of: valid) <= 0.1
expect trained gain(loss, over: off) > 0
"""
GOLDEN = Path(__file__).parent / "data" / "plan.txt"


@pytest.fixture
def lowered(tmp_path):
    program = checked(project(tmp_path, SPEC, [{"id": "a", "question": "the cat", "answer": "it ran"}]))
    return program, prepare(program)[0]


def test_the_plan_in_words(lowered):
    """The printed form of a plan with every kind of rule. A change of this file needs a reason in its commit."""
    assert describe(*lowered) == GOLDEN.read_text(encoding="utf-8")


def test_a_plan_survives_its_file(lowered):
    _, both = lowered
    assert Plan.model_validate_json(both.plan.model_dump_json()) == both.plan
    assert broken_invariants(both.plan) == []


def test_a_set_that_two_rules_read_is_stored_once(lowered):
    """`cat` is read by the rule on `animal`, by the relation, by `soft` along `index` and by the cross join `shun`."""
    _, both = lowered
    cats = [stored for stored in both.recipe.sets if both.plan.sets[stored.digest].written == "cat"]
    assert [stored.attributes for stored in cats] == [("index",)]
    assert [stored.name for stored in both.recipe.fields] == ["digits", "importance", "v", "word"]
    assert both.plan.columns[-2:] == ("field.v", "field.word")


def test_a_field_read_in_two_ways_has_two_columns(tmp_path):
    spec = SPEC + 'signal other: cat { layers = 1  classify = .digits  classes = ["a", "b"] }\n'
    program = checked(project(tmp_path, spec, [{"id": "a", "question": "the cat", "answer": "it ran"}]))
    assert [(f.name, f.type) for f in prepare(program)[0].recipe.fields] == [
        ("digits", "class"),
        ("digits#2", "label"),
        ("importance", "factor"),
        ("v", "vector"),
        ("word", "token"),
    ]


def test_what_only_some_spans_or_rows_give_is_counted(lowered):
    """The contrast by the key of its spans, a look ahead by its distance, a token among all of the vocabulary."""
    _, both = lowered
    recipe = both.recipe
    ids = {rule.id: rule.subject.set for rule in both.plan.rules if not isinstance(rule, AttendPlan)}
    assert recipe.rows == (
        ContrastCheck("group", ids["group"], None, "kind", each=False, scope="batch"),
        AheadCheck("early", "tokens", "each", 1),
    )
    assert recipe.labels[-1] == LabelCheck("told", ids["told"], "word", None, 64)


def changed(plan: Plan, rule_id: str, **update):
    rules = tuple(rule.model_copy(update=update) if rule.id == rule_id else rule for rule in plan.rules)
    return plan.model_copy(update={"rules": rules})


@pytest.mark.parametrize(
    ("rule_id", "update", "said"),
    [
        ("look", {"layers": (0,)}, "attends at layers (0,) of 1..4"),
        ("look", {"heads": (2,)}, "names heads (2,) of 0..1"),
        ("look", {"mass": None}, "has loss hinge with mass None"),
        ("look", {"pairs": ((2, 1),)}, "has pairs ((2, 1),) beside layers (2,) and heads any"),
        ("look", {"pairs": ((3, 1),), "heads": "all"}, "has pairs ((3, 1),) beside layers (2,) and heads all"),
        ("look", {"pairs": ((2, 2),), "heads": "all"}, "names heads ((2, 2),) of 0..1"),
        ("axis", {"layers": (5,)}, "reads layers (5,) of 0..4"),
        ("turn", {"anchor_to": "nobody"}, "is pulled toward an anchor `nobody` that the plan does not list"),
        ("turn", {"to": SpanSetRef(set="gone")}, "reads a set gone that the plan does not list"),
        ("turn", {"layers": (5,)}, "reads layers (5,) of 0..4"),
        ("axis", {"anchor": "nobody"}, "is pulled toward an anchor `nobody` that the plan does not list"),
        ("axis", {"field": "digits"}, "needs exactly one of an anchor, a field and a teacher's state"),
        ("group", {"attribute": None}, "needs exactly one of an attribute and a field"),
        ("group", {"attribute": "gone"}, "reads a column `span.at.gone` that the plan does not require"),
        ("early", {"ahead": None}, "needs exactly one of a distance and a field"),
        ("early", {"through": ThroughPlan(kind="linear", hidden=None, width=5)}, "map to 5 numbers where 8 are read"),
        (
            "wide",
            {"through": ThroughPlan(kind="mlp", hidden=None, width=5)},
            "a map of kind mlp with None hidden numbers",
        ),
        ("soft", {"field": "gone"}, "reads a column `field.gone` that the plan does not require"),
        ("soft", {"id": "look"}, "2 rules have the id `look`"),
    ],
)
def test_the_verifier_sees_a_broken_rule(lowered, rule_id, update, said):
    found = broken_invariants(changed(lowered[1].plan, rule_id, **update))
    assert any(said in problem for problem in found), found


def test_the_verifier_sees_broken_stages_and_references(lowered):
    plan = lowered[1].plan
    first, rest = plan.stages
    gap = plan.model_copy(update={"stages": (first, rest.model_copy(update={"start": 0.5, "only": ("nobody",)}))})
    assert broken_invariants(gap) == [
        "stage `rest` starts at 0.5, `first` ends at 0.25",
        "stage `rest` names a rule `nobody` that the plan does not have",
    ]
    assert "the stages do not run from 0 to 1" in broken_invariants(plan.model_copy(update={"stages": (first,)}))
    assert len(broken_invariants(plan.model_copy(update={"sets": {}}))) >= 5
    deep = rest.model_copy(update={"depth": 1, "train": (0, 5)})
    found = broken_invariants(plan.model_copy(update={"stages": (first, deep)}))
    assert "stage `rest` trains layers (0, 5) of 0..4" in found
    assert "stage `rest` runs 1 blocks and switches on `look`, which reads more" in found
    assert not any("`axis`" in problem for problem in found)  # its factor there is 0
    gradient = GradientPlan(scale=((1, 0.5), (1, -1.0)), stop=(5,))
    assert broken_invariants(plan.model_copy(update={"gradient": gradient})) == [
        "scales the gradients of layers (1, 1) of 0..4",
        "scales a gradient by less than 0",
        "stops gradients at layers (5,) of 0..4",
    ]
    stray = plan.model_copy(update={"learned": ("nobody",)})
    assert broken_invariants(stray) == ["learns an anchor `nobody` that the plan does not list"]


def test_the_verifier_sees_claims_about_what_is_not_there(lowered):
    plan = lowered[1].plan
    claim = plan.claims[0]
    changes = [{"rule": "nobody"}, {"metric": "accuracy"}, {"rule": None}]
    wrong = tuple(claim.model_copy(update=change) for change in changes)
    assert broken_invariants(plan.model_copy(update={"claims": wrong})) == [
        "claims mass of a rule `nobody` that the plan does not have",
        "claims accuracy of rule `shun`, whose kind is attend",
        "claims mass of no rule",
    ]
