"""Syntactic heads, markup and special tokens, from a spec on disk to a loss against the model's own attention and hidden states.

The positions that the expectations name are counted by hand in the texts.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import mcd

from .projects import WORDS, compiled, project, write_tokenizer
from .test_end_to_end import Seen, gpt2

HEADS = """source ud = conllu("ud.conllu") { id = .sent_id }
span word = offsets(.words)
attend head: word -> word where key.id == query.head { layers = 2  heads = mean }
signal number: word where upos == "NOUN" { layers = 1  classify = Number  classes = ["Sing", "Plur"] }
"""
SENTENCES = """# sent_id = birds
# text = a red bird saw the dog
1	a	a	DET	_	_	3	det	_	_
2	red	red	ADJ	_	_	3	amod	_	_
3	bird	bird	NOUN	_	Number=Sing	4	nsubj	_	_
4	saw	see	VERB	_	_	0	root	_	_
5	the	the	DET	_	_	6	det	_	_
6	dog	dog	NOUN	_	Number=Plur	4	obj	_	_

# sent_id = rain
1-2	it	_	_	_	_	_	_	_	_
1	i	i	X	_	_	3	nsubj	_	_
2	x	x	X	_	_	3	obj	_	_
3	ran	run	VERB	_	_	0	root	_	_
4	because	because	ADP	_	_	6	case	_	_
5	of	of	ADP	_	_	4	fixed	_	_
6	rain	rain	NOUN	_	Number=Sing	2	obl	_	_
"""
# a0 red1 bird2 saw3 the4 dog5        it0 ran1 because2 of3 rain4
BACKWARD = [(0, 5, 3), (1, 3, 2), (1, 4, 0)]  # record, dependent, head; rain hangs on x, for which `it` stands
FORWARD = 6
NOUNS = [(0, 2, 0), (0, 5, 1), (1, 4, 0)]  # record, position, label


@pytest.fixture
def model():
    torch.manual_seed(0)
    return gpt2()


def run(path, out, model):
    """The result of every record of a compiled spec in one batch, what an eager copy of the model saw, and the dataset."""
    compiled(path, out)
    dataset = mcd.load(out)
    with mcd.supervise(model, dataset) as supervised:
        result = supervised(mcd.Collator(dataset.plan)(list(dataset)), time=0.0)
        return result, Seen(model, dataset), dataset, supervised.probes


def near(result, rule, value):
    torch.testing.assert_close(result.rules[rule].double(), value.double(), atol=1e-5, rtol=1e-4, msg=rule)


def test_a_syntactic_head_is_an_attention_target_in_two_lines(tmp_path, model):
    result, seen, dataset, probes = run(project(tmp_path, HEADS, ud_conllu=SENTENCES), tmp_path / "out", model)
    p = [(seen.p(r, 2, 0, q, [k]) + seen.p(r, 2, 1, q, [k])) / 2 for r, q, k in BACKWARD]
    near(result, "head", torch.stack([-each.log() for each in p]).mean())
    cross = [
        functional.cross_entropy(probes["number", 1](seen.hidden[r][1][t].float())[None], torch.tensor([y]))
        for r, t, y in NOUNS
    ]
    near(result, "number", torch.stack(cross).mean())
    counts = dataset.manifest.rules["head"].splits["train"]
    assert (counts["matched"], counts["forward"]) == (len(BACKWARD) + FORWARD, FORWARD)
    assert [row.id for row in dataset] == ["birds", "rain"]


MARKED = """source s = jsonl("data.jsonl") { text = "{.q} {.text}" }
span thing = markup(.text)
span animal = thing where label == "animal"
attend see: animal -> thing where key.label == "colour" { layers = 2  heads = [1] }
signal kind: thing { layers = 3  classify = label  classes = ["animal", "colour", "scene"] }
"""


def test_markup_gives_spans_of_the_plain_text(tmp_path, model):
    """because0 the1 red2 cat3 ran4 off5: `red cat` holds `red`, and `cat` stands beside it."""
    records = [{"q": "because", "text": "[[the [[red|colour]] [[cat|animal]] ran|scene]] off"}]
    result, seen, dataset, probes = run(project(tmp_path, MARKED, records), tmp_path / "out", model)
    assert len(dataset[0].input_ids) == 6
    near(result, "see", -seen.p(0, 2, 1, 3, [2]).log())
    labels = [(2, 1), (3, 0), (4, 2)]  # the last token of each span
    cross = [
        functional.cross_entropy(probes["kind", 3](seen.hidden[0][3][t].float())[None], torch.tensor([y]))
        for t, y in labels
    ]
    near(result, "kind", torch.stack(cross).mean())


SINK = """source s = jsonl("data.jsonl") { text = .text }
span begin = special("<s>")
span cat = phrases("cat")
attend sink: tokens -> begin { layers = 1  heads = mean }
attend sunk: cat -> begin where key before query { layers = 2  heads = [0] }
signal whole: begin { layers = 2  classify = .label  classes = 2 }
weigh opening: begin.next { factor = 3 }
"""


def test_a_token_that_the_tokenizer_adds_is_a_sink_in_every_part(tmp_path, model):
    """Parts <s> the dog ran off and, <s> and it saw a cat: `and` is repeated."""
    path = project(tmp_path, SINK, [{"text": "the dog ran off and it saw a cat", "label": 1}])
    path.write_text(path.read_text().replace("context = 16", "context = 6  overflow = split(stride: 1)"))
    write_tokenizer(tmp_path / "tokenizer.json", begin="<s>")
    result, seen, dataset, probes = run(path, tmp_path / "out", model)
    assert [row.input_ids[0] for row in dataset] == [len(WORDS), len(WORDS)]
    rows = [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 2), (1, 3), (1, 4), (1, 5)]
    p = [(seen.p(r, 1, 0, q, [0]) + seen.p(r, 1, 1, q, [0])) / 2 for r, q in rows]
    near(result, "sink", torch.stack([-each.log() for each in p]).mean())
    near(result, "sunk", -seen.p(1, 2, 0, 5, [0]).log())
    state = probes["whole", 2](seen.hidden[0][2][0].float())
    near(result, "whole", functional.cross_entropy(state[None], torch.tensor([1])))
    found = {rule: int(count) for rule, count in result.rows.items()}
    assert found == {"sink": 9, "sunk": 1, "whole": 1, "opening": 1}
    for rule in ("sunk", "whole", "opening"):
        assert dataset.manifest.rules[rule].splits["train"]["rows"] == found[rule]
    losses = [
        (weight, -torch.log_softmax(seen.logits[r][place - 1], 0)[seen.ids[r][place]])
        for r, place, weight in [(0, 1, 3), *((r, q, 1) for r, q in rows if (r, q) != (0, 1))]
    ]
    expected = sum(weight * loss for weight, loss in losses) / sum(weight for weight, _ in losses)
    torch.testing.assert_close(result.token.double(), expected, atol=1e-5, rtol=1e-4)
