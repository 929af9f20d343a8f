"""From a spec on disk to a loss: every rule's value against the model's own attention weights and hidden states.

The token positions that the expectations name are counted by hand in the two records; nothing of the compiler or the
collator takes part in them.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

import mcd

from .projects import compiled, project

SPEC = """source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }
span cat = phrases("cat")
span dog = phrases("dog")
span scene = regex("the cat saw|a dog ran")
span word = regex("[a-z]+")
concept axis { spans = cat  anchor = orthonormal }
concept other { spans = dog  anchor = orthonormal }

attend link: dog -> cat where key before query { pick = nearest  layers = 2  heads = any }
attend all: dog -> cat where key before query { layers = 1..2  heads = all  mass = 0.9  weight = 0.5 }
attend own: scene -> scene where key == query { layers = 3  heads = mean  loss = kl }
attend aligned: word -> word where linked(.align, query.index, key.index) { at = [[1, 0], [2, 1]]  loss = kl }
signal near: cat { layers = 2  classify = .label  classes = 3 }
signal axis_of: cat { layers = [0, 3]  toward = axis.anchor }
signal middle: scene { layers = final  toward = other.anchor  pool = mean  per = record }
relate apart: axis opposes other { layers = 4  margin = 0.1 }
relate shift: axis -> other like other -> axis { layers = 2  margin = 0.8 }
weigh loud: cat { factor = 3 }
weigh quiet: tokens - scene { factor = 0.5 }
"""
RECORDS = [
    # the0 cat1 saw2 a3 red4 cat5 and6 a7 dog8 .9
    {
        "id": "a",
        "text": "the cat saw a red cat and a dog .",
        "label": [0, 2],
        "align": [[8, 1, 0.75], [8, 5, 0.25], [3, 2]],
    },
    # a0 dog1 ran2 off3 and4 the5 cat6 ran7 off8 because9 of10 a11 dog12
    {
        "id": "b",
        "text": "a dog ran off and the cat ran off because of a dog",
        "label": [1],
        "align": [[0, 3], [12, 1, 2.0], [12, 12, 2.0]],
    },
]
CATS = [(0, 1, 0), (0, 5, 2), (1, 6, 1)]  # record, position, label
LINKS = [
    (0, 8, {1: 0.75, 5: 0.25}),
    (0, 3, {2: 1.0}),
    (1, 12, {1: 0.5, 12: 0.5}),
]  # 0 -> 3 in the second points forward
DOGS = [(0, 8), (1, 1), (1, 12)]
SCENES = [(0, 0, 3), (1, 0, 3)]  # record, first token, end


def gpt2() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(
        GPT2Config(
            n_layer=4, n_head=2, n_embd=8, vocab_size=64, n_positions=16, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
        )
    )


def llama() -> LlamaForCausalLM:
    """Two query heads share one key head."""
    return LlamaForCausalLM(
        LlamaConfig(
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=1,
            hidden_size=8,
            intermediate_size=16,
            vocab_size=64,
            max_position_embeddings=16,
        )
    )


@pytest.fixture(params=[gpt2, llama])
def model(request):
    torch.manual_seed(0)
    return request.param()


@pytest.fixture
def dataset(tmp_path):
    compiled(project(tmp_path, SPEC, RECORDS), tmp_path / "out")
    return mcd.load(tmp_path / "out")


class Seen:
    """Attention weights and hidden states as an eager copy of the model returns them, one record at a time."""

    def __init__(self, model, dataset):
        eager = copy.deepcopy(model).eval()
        eager.set_attn_implementation("eager")
        after_norm = []
        norm = eager.transformer.ln_f if hasattr(eager, "transformer") else eager.model.norm
        norm.register_forward_hook(lambda module, given, out: after_norm.append((given[0], out)))
        self.attention, self.hidden, self.logits, self.ids = [], [], [], []
        for row in dataset:
            ids = torch.tensor(row.input_ids.astype("int64"))[None]
            out = eager(input_ids=ids, output_attentions=True, output_hidden_states=True)
            before, final = after_norm.pop()
            self.attention.append([layer[0].double() for layer in out.attentions])
            states = [*(state[0].double() for state in out.hidden_states[:-1]), before[0].double()]
            self.hidden.append({**dict(enumerate(states)), "final": final[0].double()})
            self.logits.append(out.logits[0].double())
            self.ids.append(ids[0])

    def p(self, record, layer, head, query, keys):
        return self.attention[record][layer - 1][head, query, list(keys)].sum()


def expected(seen, anchors, probe):
    """Every rule's loss, by hand from the positions above."""
    dogs = [(0, 8, [1, 5]), (1, 12, [6])]  # the dog at b1 has no cat before it
    link = [max(seen.p(r, 2, h, q, [max(keys)]) for h in (0, 1)) for r, q, keys in dogs]
    hinge = [
        torch.clamp(torch.tensor(0.9).double().log() - seen.p(r, layer, h, q, keys).log(), min=0)
        for r, q, keys in dogs
        for layer in (1, 2)
        for h in (0, 1)
    ]
    kl = []
    for record, start, end in SCENES:
        for query in range(start, end):
            keys = range(start, query + 1)  # of the scene's own tokens, those that a causal model can see
            p = sum(seen.attention[record][2][head, query, list(keys)] for head in (0, 1)) / 2
            kl.append(sum(-torch.log(len(keys) * each) for each in p) / len(keys))
    aligned = [
        sum(t * torch.log(t / seen.p(r, layer, h, q, [k])) for k, t in target.items())
        for r, q, target in LINKS
        for layer, h in ((1, 0), (2, 1))
    ]
    cross = [functional.cross_entropy(probe(seen.hidden[r][2][t].float())[None], torch.tensor([y])) for r, t, y in CATS]

    def cosine(state, name):
        return functional.cosine_similarity(state, torch.tensor(anchors[name]).double(), dim=0)

    toward = [1 - cosine(seen.hidden[r][layer][t], "axis") for r, t, _ in CATS for layer in (0, 3)]
    middle = [1 - cosine(seen.hidden[r]["final"][a:b].mean(0), "other") for r, a, b in SCENES]
    apart = [torch.clamp(cosine(seen.hidden[r][4][t], "other") + 0.1, min=0) for r, t, _ in CATS]
    shift = []
    for record in (0, 1):
        cats = [seen.hidden[record][2][t] for r, t, _ in CATS if r == record]
        dogs = [seen.hidden[record][2][t] for r, t in DOGS if r == record]
        offset = sum(dogs) / len(dogs) - sum(cats) / len(cats)
        back = torch.tensor(anchors["axis"] - anchors["other"]).double()
        shift.append(torch.clamp(0.8 - functional.cosine_similarity(offset, back, dim=0), min=0))
    return {
        "link": torch.stack([-p.log() for p in link]).mean(),
        "all": torch.stack(hinge).mean(),
        "own": torch.stack(kl).mean(),
        "aligned": torch.stack(aligned).mean(),
        "near": torch.stack(cross).mean(),
        "axis_of": torch.stack(toward).mean(),
        "middle": torch.stack(middle).mean(),
        "apart": torch.stack(apart).mean(),
        "shift": torch.stack(shift).mean(),
    }


def token_loss(seen):
    """Weights of the predicted tokens: 3 for a cat, 0.5 outside the scenes, both for a cat outside one."""
    total, weights = 0.0, 0.0
    for record, (ids, logits) in enumerate(zip(seen.ids, seen.logits, strict=True)):
        cats = {t for r, t, _ in CATS if r == record}
        _, start, end = SCENES[record]
        for place in range(1, len(ids)):
            weight = (3.0 if place in cats else 1.0) * (1.0 if start <= place < end else 0.5)
            total = total - weight * torch.log_softmax(logits[place - 1], 0)[ids[place]]
            weights += weight
    return total / weights


def test_every_rule_against_the_models_own_weights(model, dataset):
    batch = mcd.Collator(dataset.plan)(list(dataset))
    seen = Seen(model, dataset)
    with mcd.supervise(model, dataset) as supervised:
        out = supervised(batch, time=0.0)
        wanted = expected(seen, dataset.anchors, supervised.probes["near", 2])
    for rule, value in wanted.items():
        assert out.rules[rule].item() == pytest.approx(value.item(), abs=1e-5), rule
    assert out.token.item() == pytest.approx(token_loss(seen).item(), abs=1e-5)
    total = out.token + sum((0.5 if rule == "all" else 1.0) * value for rule, value in out.rules.items())
    assert out.loss.item() == pytest.approx(total.item(), abs=1e-5)
    assert {rule: int(rows) for rule, rows in out.rows.items()} == {
        "link": 2,
        "all": 2,
        "own": 6,
        "aligned": 3,
        "near": 3,
        "axis_of": 3,
        "middle": 2,
        "apart": 3,
        "shift": 2,
        "loud": 3,
        "quiet": 17,  # 10 + 13 tokens, less two scenes of 3; the first of each record has no loss and is in a scene
    }


FRAMED = """
source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }
frame link(from: span, to: span, depth: layers) {
  attend back: $from -> $to where key before query { pick = nearest  layers = $depth  heads = any }
  signal near: $to { layers = $depth  classify = .label  classes = 3 }
  weigh $to { factor = 3 }
}
use link(phrases("dog"), phrases("cat"), 2) as dogs
"""


def test_rules_of_a_frame_act_as_those_written_by_hand(model, dataset, tmp_path):
    """`link`, `near` and `loud` of SPEC, from a frame."""
    (tmp_path / "framed").mkdir()
    compiled(project(tmp_path / "framed", FRAMED, RECORDS), tmp_path / "framed" / "out")
    framed = mcd.load(tmp_path / "framed" / "out")
    batch = mcd.Collator(framed.plan)(list(framed))
    seen = Seen(model, dataset)
    with mcd.supervise(model, framed) as supervised:
        out = supervised(batch, time=0.0)
        wanted = expected(seen, dataset.anchors, supervised.probes["dogs.near", 2])
    assert out.rules.keys() == {"dogs.back", "dogs.near"}
    assert out.rules["dogs.back"].item() == pytest.approx(wanted["link"].item(), abs=1e-5)
    assert out.rules["dogs.near"].item() == pytest.approx(wanted["near"].item(), abs=1e-5)
    assert {rule: int(rows) for rule, rows in out.rows.items()} == {
        "dogs.back": 2,
        "dogs.near": 3,
        "dogs.weigh $to": 3,
    }


def test_the_manifest_promises_the_rows_that_come(model, dataset):
    batch = mcd.Collator(dataset.plan)(list(dataset))
    with mcd.supervise(model, dataset) as supervised:
        rows = supervised(batch, time=0.0).rows
    promised = {rule: counts.splits["train"]["rows"] for rule, counts in dataset.manifest.rules.items()}
    assert promised == {rule: int(count) for rule, count in rows.items()}


def test_micro_batches_give_the_gradients_of_one_batch(model, dataset):
    """The two records have 1 and 2 cats with labels, 3 and 3 scene rows: a mean of means would differ."""
    collate, rows = mcd.Collator(dataset.plan), list(dataset)

    def gradients(batches):
        supervised.zero_grad()
        totals = supervised.totals(batches, 0.0)
        for batch in batches:
            supervised(batch, time=0.0, totals=totals).loss.backward()
        return [parameter.grad.clone() for parameter in supervised.parameters() if parameter.grad is not None]

    with mcd.supervise(model, dataset) as supervised:
        whole = gradients([collate(rows * 2)])
        parts = gradients([collate([row]) for row in rows * 2])
    assert len(whole) == len(parts) > 0
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_a_weight_on_first_tokens_alone_is_no_dead_rule(tmp_path):
    """No record has a loss at its first token, so 40 matches promise no row of the rule."""
    spec = 'source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }\nweigh opening: first(tokens, 1) { factor = 2 }\n'
    compiled(project(tmp_path, spec, [{"id": str(i), "text": "the cat ran"} for i in range(40)]), tmp_path / "out")
    dataset = mcd.load(tmp_path / "out")
    with mcd.supervise(gpt2(), dataset) as supervised:
        out = supervised(mcd.Collator(dataset.plan)(list(dataset)), time=0.0)
    assert out.rows == {"opening": 0}


WINDOWED = """mcd 1
model m { config = "config.json"  tokenizer = "tokenizer.json"  context = 16 }
source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }
span cat = phrases("cat")
span dog = phrases("dog")
attend look: dog -> cat where key before query { layers = 2..3  heads = all }
attend near: dog -> cat where key before query { layers = 3  heads = all }
"""


def test_sliding_windows_from_a_config_to_a_loss(tmp_path):
    """Layers 3 and 4 see the last 4 tokens: of a8 -> {1, 5} layer 3 sees 5, of b12 -> {6} it sees none."""
    torch.manual_seed(0)
    shape = {"num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "hidden_size": 8}
    sliding = {"sliding_window": 4, "use_sliding_window": True, "max_window_layers": 2}
    config = Qwen2Config(**shape, **sliding, intermediate_size=16, vocab_size=64, max_position_embeddings=16)
    model = Qwen2ForCausalLM(config)
    path = project(tmp_path, "", RECORDS)
    config.save_pretrained(tmp_path)
    path.write_text(WINDOWED)
    compiled(path, tmp_path / "out")
    dataset = mcd.load(tmp_path / "out")
    seen = Seen(model, dataset)
    with mcd.supervise(model, dataset) as supervised:
        out = supervised(mcd.Collator(dataset.plan)(list(dataset)), time=0.0)

    def loss(*rows):
        costs = [[-seen.p(r, layer, h, q, keys).log() for layer, keys in at for h in (0, 1)] for r, q, at in rows]
        return sum(sum(cost) / len(cost) for cost in costs).item() / len(rows)

    assert dataset.plan.model.windows == (None, None, 4, 4)
    assert out.rules["look"].item() == pytest.approx(
        loss((0, 8, [(2, [1, 5]), (3, [5])]), (1, 12, [(2, [6])])), abs=1e-5
    )
    assert out.rules["near"].item() == pytest.approx(loss((0, 8, [(3, [5])])), abs=1e-5)
    assert out.rows == {"look": 2, "near": 1}
    counts = {rule: dict(found.splits["train"]) for rule, found in dataset.manifest.rules.items()}
    assert counts["look"] == {"matched": 3, "narrow": 2, "rows": 2}
    assert counts["near"] == {"matched": 3, "window": 2, "rows": 1}
