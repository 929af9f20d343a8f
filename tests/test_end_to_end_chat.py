"""Loss on the replies of a chat alone, from messages on disk to a loss against the model's own logits; beside texts to which the
tokenizer adds tokens of its own.

The positions that the expectations name are counted by hand in the texts.
"""

from __future__ import annotations

import json

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import mcd

from .compiler.test_chat_sources import TALK, talks
from .projects import compiled
from .test_end_to_end import Seen

SPEC = """source talk = jsonl("data.jsonl") { id = .id  chat = .messages }
source plain = jsonl("plain.jsonl") { id = .id  text = .text }
span reply = slot(.messages) where role == "assistant"
span ask of talk = slot(.messages) where role == "user"
span taught = reply | reply.next
weigh taught { factor = 2  only = true }
attend asked: reply -> ask where key.message < query.message { layers = 2  heads = [0]  pick = nearest }
signal every: tokens { layers = 1  classify = .place  classes = 32 }
"""
TAUGHT = [7, 8, 9, 10, 19, 20, 21]  # a red bird <|im_end|> ran off <|im_end|>


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(
            n_layer=4,
            n_head=2,
            n_embd=8,
            vocab_size=64,
            n_positions=32,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def test_replies_alone_have_a_loss_and_only_plain_texts_an_added_token(tmp_path, model):
    """talk: 22 tokens of the template. plain: <s> the dog, of which <s> is no token of `tokens`."""
    path = talks(tmp_path, [{"id": "t", "messages": TALK, "place": list(range(22))}], SPEC)
    path.write_text(path.read_text().replace("context = 64", "context = 24"))
    (tmp_path / "plain.jsonl").write_text(json.dumps({"id": "p", "text": "the dog", "place": [30, 31]}) + "\n")
    compiled(path, tmp_path / "out")
    dataset = mcd.load(tmp_path / "out")
    assert [len(row.input_ids) for row in dataset] == [22, 3]
    with mcd.supervise(model, dataset) as supervised:
        result = supervised(mcd.Collator(dataset.plan)(list(dataset)), time=0.0)
        seen = Seen(model, dataset)
    losses = [-torch.log_softmax(seen.logits[0][place - 1], 0)[seen.ids[0][place]] for place in TAUGHT]
    torch.testing.assert_close(result.token.double(), torch.stack(losses).mean(), atol=1e-5, rtol=1e-4)
    p = [
        seen.p(0, 2, 0, query, keys)
        for query, keys in [(q, [2, 3]) for q in (7, 8, 9)] + [(q, [13, 14, 15]) for q in (19, 20)]
    ]
    expected = torch.stack([-each.log() for each in p]).mean()
    torch.testing.assert_close(result.rules["asked"].double(), expected.double(), atol=1e-5, rtol=1e-4)
    probe = supervised.probes["every", 1]
    states = [(seen.hidden[0][1][place], place) for place in range(22)] + [
        (seen.hidden[1][1][1], 30),
        (seen.hidden[1][1][2], 31),
    ]
    cross = [
        torch.nn.functional.cross_entropy(probe(state.float())[None], torch.tensor([label])) for state, label in states
    ]
    torch.testing.assert_close(result.rules["every"].double(), torch.stack(cross).mean().double(), atol=1e-5, rtol=1e-4)
    assert (int(result.rows["asked"]), int(result.rows["every"])) == (5, 24)
