"""`contrast`, `predict` and `through` from a spec on disk to a loss: token positions and partners are counted by hand."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional

import mcd
from mcd.compiler.compile import compile_program

from .projects import WORDS, checked, compiled, project
from .test_end_to_end import Seen, gpt2, llama

SPEC = """source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }
span mention = offsets(.mentions, of: .text)
span cat = phrases("cat")

signal group: mention { layers = [1, final]  contrast = entity  temperature = 0.5 }
signal words: mention { layers = 2  contrast = text  pool = last  per = record }
signal topics: record { layers = 4  contrast = .topic  scope = batch }
signal early: tokens { layers = 2  predict = next(1) }
signal ahead: cat { layers = [0, final]  predict = next(2) }
signal answer: record { layers = 3  predict = .answer  pool = last }
signal wide: cat { layers = 2  toward = .v  through = mlp(hidden: 6, width: 3) }
signal read: cat { layers = 2  classify = .label  classes = 2  through = linear(width: 5) }
"""


def mention(text: str, word: str, entity: object, nth: int = 0) -> dict:
    start = [i for i in range(len(text)) if text.startswith(word, i)][nth]
    return {"start": start, "end": start + len(word), "entity": entity}


A = "the cat saw a red cat and a dog ."  # the0 cat1 saw2 a3 red4 cat5 and6 a7 dog8 .9
B = "a dog ran off and the cat"  # a0 dog1 ran2 off3 and4 the5 cat6
C = "it ran ."
RECORDS = [
    {
        "id": "a", "text": A, "topic": 1, "answer": "bird", "v": [[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]], "label": [0, 1],
        "mentions": [
            mention(A, "the cat", 7), mention(A, "a red cat", 7.0), mention(A, "a dog", 8), mention(A, "saw", None)
        ],
    },
    {
        "id": "b", "text": B, "topic": 2, "answer": "a bird", "v": [[3.0, 1.0, 1.0]], "label": [1],
        "mentions": [mention(B, "a dog", 9), mention(B, "ran", 9), mention(B, "the cat", 10)],
    },
    {"id": "c", "text": C, "topic": 1, "answer": "elephant", "v": None, "label": None, "mentions": []},
]  # fmt: skip
GROUPS = [(0, [(0, 2), (3, 6), (7, 9)], [7, 7, 8]), (1, [(0, 2), (2, 3), (5, 7)], [9, 9, 10])]


@pytest.fixture(params=[gpt2, llama])
def model(request):
    torch.manual_seed(0)
    return request.param()


@pytest.fixture
def dataset(tmp_path):
    compiled(project(tmp_path, SPEC, RECORDS), tmp_path / "out")
    return mcd.load(tmp_path / "out")


def supcon(states, keys, temperature):
    """The losses of all anchors with a positive, one at a time."""
    found = []
    for i, key in enumerate(keys):
        others = [j for j in range(len(keys)) if j != i]
        s = {j: functional.cosine_similarity(states[i], states[j], dim=0) / temperature for j in others}
        total = sum(s[j].exp() for j in others)
        positives = [j for j in others if keys[j] == key]
        if positives:
            found.append(-sum((s[j].exp() / total).log() for j in positives) / len(positives))
    return found


def expected(seen, model, probes):
    """Every rule's loss, by hand from the positions above."""
    norm, head = (model.transformer.ln_f if hasattr(model, "transformer") else model.model.norm), model.lm_head

    def token(record, layer, place, target):
        state = seen.hidden[record][layer][place].float()
        logits = head(state if layer == "final" else norm(state))
        return functional.cross_entropy(logits[None], torch.tensor([target]))

    group = {}
    for layer in (1, "final"):
        group[layer] = [
            loss
            for record, spans, keys in GROUPS
            for loss in supcon([seen.hidden[record][layer][a:b].mean(0) for a, b in spans], keys, 0.5)
        ]
    topics = supcon([seen.hidden[r][4].mean(0) for r in range(3)], [1, 2, 1], 0.1)
    early = [token(r, 2, t, int(ids[t + 1])) for r, ids in enumerate(seen.ids) for t in range(len(ids) - 1)]
    ahead = [token(0, k, t, int(seen.ids[0][t + 2])) for t in (1, 5) for k in (0, "final")]
    cats = [(0, 1, 0), (0, 5, 1), (1, 6, 1)]
    vectors = [v for record in RECORDS for v in record["v"] or []]
    wide, read = probes.maps["wide", 2], probes.maps["read", 2]
    squares = [
        functional.mse_loss(wide(seen.hidden[r][2][t].float()), torch.tensor(v))
        for (r, t, _), v in zip(cats, vectors, strict=True)
    ]
    labels = [
        functional.cross_entropy(probes["read", 2](read(seen.hidden[r][2][t].float()))[None], torch.tensor([y]))
        for r, t, y in cats
    ]
    return {
        "group": torch.stack([(a + b) / 2 for a, b in zip(group[1], group["final"], strict=True)]).mean(),
        "words": torch.zeros(()),
        "topics": torch.stack(topics).mean(),
        "early": torch.stack(early).mean(),
        "ahead": torch.stack(ahead).mean(),
        "answer": token(0, 3, 9, WORDS.index("bird")),
        "wide": torch.stack(squares).mean(),
        "read": torch.stack(labels).mean(),
    }


def test_every_rule_against_the_models_own_states(model, dataset):
    batch = mcd.Collator(dataset.plan)(list(dataset))
    seen = Seen(model, dataset)
    with mcd.supervise(model, dataset) as supervised:
        out = supervised(batch, time=0.0)
        wanted = expected(seen, model, supervised.probes)
    for rule, value in wanted.items():
        assert out.rules[rule].item() == pytest.approx(value.item(), abs=1e-5), rule
    assert {rule: int(rows) for rule, rows in out.rows.items()} == {
        "group": 4, "words": 0, "topics": 2, "early": 17, "ahead": 2, "answer": 1, "wide": 3, "read": 3,
    }  # fmt: skip


def test_the_manifest_promises_the_rows_that_come_and_says_why_others_do_not(dataset):
    counts = {rule: found.splits["train"] for rule, found in dataset.manifest.rules.items()}
    rows = {rule: found["rows"] for rule, found in counts.items()}
    assert rows == {
        "group": 4, "words": 0, "topics": 0, "early": 17, "ahead": 2, "answer": 1, "wide": 3, "read": 3,
    }  # fmt: skip
    assert (counts["group"]["lonely"], counts["group"]["null"]) == (2, 1)
    assert counts["words"]["lonely"] == 7
    assert "lonely" not in counts["topics"]
    assert counts["early"]["beyond"] == 3
    assert counts["ahead"]["beyond"] == 1
    assert counts["answer"]["outside"] == 2


def test_what_is_lost_is_said_by_rule(tmp_path):
    found = [item.message for item in compiled(project(tmp_path, SPEC, RECORDS), tmp_path / "out").warnings]
    assert "`group`: 2 of 7 spans without another of equal value in their record" in found
    assert "`answer`: 2 of 3 spans whose target is no single token" in found
    assert not any("early" in message or "topics" in message for message in found)


def test_micro_batches_give_the_gradients_of_one_batch(model, tmp_path):
    """Records a and b have 2 anchors each, c none; only a contrast over the batch depends on what is in it."""
    spec = "\n".join(line for line in SPEC.splitlines() if "batch" not in line) + "\n"
    compiled(project(tmp_path, spec, RECORDS), tmp_path / "out")
    dataset = mcd.load(tmp_path / "out")
    collate, rows = mcd.Collator(dataset.plan), list(dataset)

    def gradients(batches):
        supervised.zero_grad()
        totals = supervised.totals(batches, 0.0)
        for batch in batches:
            supervised(batch, time=0.0, totals=totals).loss.backward()
        return {name: p.grad.clone() for name, p in supervised.named_parameters() if p.grad is not None}

    with mcd.supervise(model, dataset) as supervised:
        whole = gradients([collate([*rows, rows[0]])])
        parts = gradients([collate([row]) for row in [*rows, rows[0]]])
    assert {name for name in whole if name.startswith("probes")} == {
        name for name, _ in supervised.named_parameters() if name.startswith("probes")
    }
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=1e-6, rtol=1e-5)


def test_gradients_reach_the_norm_and_the_head(dataset):
    """Of `early` and of nothing else: the token loss is left out."""
    model = llama()
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    with mcd.supervise(model, dataset) as supervised:
        out = supervised(mcd.Collator(dataset.plan)(list(dataset)), time=0.0)
        norm, head = torch.autograd.grad(out.rules["early"], [model.model.norm.weight, model.lm_head.weight])
    assert norm.norm() > 0
    assert head.norm() > 0


def test_maps_are_saved_with_the_probes_and_start_the_same(dataset, tmp_path):
    first, second = (mcd.supervise(llama(), dataset) for _ in range(2))
    for one, other in zip(first.probes.parameters(), second.probes.parameters(), strict=True):
        assert torch.equal(one, other)
        torch.nn.init.zeros_(other)
    first.save_probes(tmp_path / "probes.safetensors")
    second.load_probes(tmp_path / "probes.safetensors")
    for one, other in zip(first.probes.parameters(), second.probes.parameters(), strict=True):
        assert torch.equal(one, other)
    header = (tmp_path / "probes.safetensors").read_bytes()
    names = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])
    assert {name: tensor["shape"] for name, tensor in names.items() if name != "__metadata__"} == {
        "wide@2.through.0.weight": [6, 8],
        "wide@2.through.0.bias": [6],
        "wide@2.through.2.weight": [3, 6],
        "wide@2.through.2.bias": [3],
        "read@2.through.weight": [5, 8],
        "read@2.through.bias": [5],
        "read@2.weight": [2, 5],
        "read@2.bias": [2],
    }


def test_without_rows_every_loss_is_a_zero_connected_to_its_map(dataset):
    with mcd.supervise(llama(), dataset) as supervised:
        out = supervised(mcd.Collator(dataset.plan)([list(dataset)[2]]), time=0.0)
        assert [out.rules[rule].item() for rule in ("group", "topics", "ahead", "wide", "read")] == [0] * 5
        out.loss.backward()
    assert all(parameter.grad is not None for parameter in supervised.probes.parameters())


def test_a_vector_of_another_width_than_its_map_gives_is_found_while_compiling(tmp_path):
    spec = SPEC.replace("width: 3", "width: 4")
    with pytest.raises(mcd.Failure) as caught:
        compiled(project(tmp_path, spec, RECORDS), tmp_path / "out")
    assert [item.code.id for item in caught.value.diagnostics] == ["MCD622"]


def test_one_field_read_through_maps_of_two_widths_is_two_columns(tmp_path):
    spec = SPEC + "signal other: record { layers = 1  toward = .v  through = linear(width: 6)  pool = last }\n"
    records = [{**record, "v": None} for record in RECORDS] + [{**RECORDS[0], "id": "d", "v": [1.0] * 6}]
    compiled(project(tmp_path, spec, records), tmp_path / "out")
    dataset = mcd.load(tmp_path / "out")
    assert {"field.v", "field.v#2"} <= set(dataset.plan.columns)
    with mcd.supervise(llama(), dataset) as supervised:
        out = supervised(mcd.Collator(dataset.plan)(list(dataset)), time=0.0)
    assert (out.rows["other"], out.rows["wide"]) == (1, 2)


@pytest.mark.parametrize(
    ("classes", "kinds", "rows"), [('["x", "y"]', ["x", "y", "x", "x"], 3), ("2", [0, -1, -1, 0], 4)]
)
def test_an_attribute_that_is_a_label_to_another_rule_is_contrasted_as_well(tmp_path, classes, kinds, rows):
    spec = f"""{SPEC}signal pairs: mention {{ layers = 1  contrast = kind }}
signal kinds: mention {{ layers = 1  classify = kind  classes = {classes} }}
"""
    mentions = [{**found, "kind": kind} for found, kind in zip(RECORDS[0]["mentions"], kinds, strict=True)]
    compiled(project(tmp_path, spec, [{**RECORDS[0], "mentions": mentions}, *RECORDS[1:]]), tmp_path / "out")
    dataset = mcd.load(tmp_path / "out")
    with mcd.supervise(llama(), dataset) as supervised:
        out = supervised(mcd.Collator(dataset.plan)(list(dataset)), time=0.0)
    assert out.rows["pairs"] == dataset.manifest.rules["pairs"].splits["train"]["rows"] == rows


def test_another_signal_over_the_same_sets_writes_the_plan_alone(tmp_path):
    spec = project(tmp_path, SPEC, RECORDS)
    assert not compile_program(checked(spec), tmp_path / "out").reused
    spec.write_text(spec.read_text().replace("temperature = 0.5", "temperature = 0.1").replace("next(1)", "next(3)"))
    assert not compile_program(checked(spec), tmp_path / "out").reused  # rows are promised, and next(3) has others
    spec.write_text(spec.read_text().replace("temperature = 0.1", "temperature = 0.2  weight = 2"))
    assert compile_program(checked(spec), tmp_path / "out").reused
