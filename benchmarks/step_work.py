"""The work of `step.py`: a Llama, and a plan of three attention rules, two rules on hidden states and a relation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mcd.compiler.plan import (
    AttendPlan,
    ClassifyPlan,
    Contract,
    EdgeSetRef,
    Line,
    Plan,
    RelatePlan,
    SetInfo,
    SpanSetRef,
    Tokenizer,
    TowardPlan,
)
from mcd.runtime.batch import AttendRows, Batch, HiddenRows, KeepRows, WeighRows

KEYS = 4
"""Keys of every query row."""
CLASSES = 8
BASE = {"line": Line(file="bench.mcd", line=1), "lost": "warn", "weight": 1.0, "per": "row"}
SUBJECT = SpanSetRef(set="f" * 32)


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a model."""

    layers: int
    heads: int
    keys: int
    hidden: int
    inner: int
    vocab: int


SHAPES = {
    "tiny": Shape(layers=6, heads=2, keys=1, hidden=16, inner=32, vocab=64),
    "small": Shape(layers=6, heads=6, keys=3, hidden=384, inner=1536, vocab=8192),
    "1b": Shape(layers=16, heads=32, keys=8, hidden=2048, inner=8192, vocab=128_256),
}
"""`small`: 18 million parameters. `1b`: Llama 3.2 1B, whose head is the embedding."""


def make_plan(shape: Shape, context: int) -> Plan:
    """Attention in three layers (one head; any head; all heads), a classifier, an anchor, and a relation."""
    edges = {f"{i:032x}": SetInfo(kind="edge", written="bench") for i in range(3)}
    attend = {"mass": None, "avoid": False, "each": False, "loss": "nll", **BASE}
    hidden = {"subject": SUBJECT, "pool": "each", **BASE}
    low, middle, high = shape.layers // 3, shape.layers // 2, shape.layers - 1
    rules = [
        AttendPlan(id="one", edges=EdgeSetRef(edges=f"{0:032x}"), layers=(low,), heads=(0,), **attend),
        AttendPlan(id="two", edges=EdgeSetRef(edges=f"{1:032x}"), layers=(middle,), heads="any", **attend),
        AttendPlan(id="three", edges=EdgeSetRef(edges=f"{2:032x}"), layers=(high,), heads="all", **attend),
        ClassifyPlan(
            id="label", layers=(middle,), field="label", attribute=None, classes=CLASSES, labels=None, **hidden
        ),
        TowardPlan(id="axis", layers=(middle + 1,), anchor="axis", field=None, loss="cosine", **hidden),
        RelatePlan(id="kin", layers=(middle,), relation="is_a", anchor="axis", margin=0.3, **hidden),
    ]
    return Plan(
        version="bench",
        edition=1,
        spec="bench.mcd",
        model=Contract(
            architecture="llama",
            layers=shape.layers,
            heads=shape.heads,
            hidden=shape.hidden,
            vocab=shape.vocab,
            causal=True,
            context=context,
        ),
        tokenizer=Tokenizer(digest="0" * 32),
        columns=(),
        sets={**edges, "f" * 32: SetInfo(kind="span", written="bench")},
        anchors={"axis": "orthonormal"},
        rules=tuple(rules),
        stages=(),
    )


def make_batch(vocab: int, records: int, tokens: int, rows: int) -> Batch:
    """Random tokens; for every rule `rows` rows per record, each query with four keys before it."""
    random = torch.Generator().manual_seed(0)

    def attend() -> AttendRows:
        position = torch.randint(KEYS, tokens, (records, rows), generator=random)
        record, row = torch.meshgrid(torch.arange(records), torch.arange(rows), indexing="ij")
        keys = (torch.rand((records, rows, KEYS), generator=random) * position[..., None]).long()
        return AttendRows(
            position=position,
            valid=torch.ones(records, rows, dtype=torch.bool),
            rule=torch.zeros(records, rows, dtype=torch.long),
            share=torch.ones(records, rows),
            pair_record=record.reshape(-1).repeat_interleave(KEYS),
            pair_row=row.reshape(-1).repeat_interleave(KEYS),
            pair_key=keys.reshape(-1),
        )

    def hidden(labelled: bool) -> HiddenRows:
        count = records * rows
        return HiddenRows(
            record=torch.arange(records).repeat_interleave(rows),
            position=torch.randint(0, tokens, (count,), generator=random),
            row=torch.arange(count),
            rule=torch.zeros(count, dtype=torch.long),
            share=torch.ones(count),
            label=torch.randint(0, CLASSES, (count,), generator=random) if labelled else None,
            vector=None,
        )

    empty = torch.zeros(0, dtype=torch.long)
    scored = torch.ones(records, tokens, dtype=torch.bool)
    scored[:, 0] = False
    return Batch(
        input_ids=torch.randint(0, vocab, (records, tokens), generator=random),
        attention_mask=torch.ones(records, tokens, dtype=torch.long),
        scored=scored,
        weigh=WeighRows(record=empty, position=empty, rule=empty, factor=torch.zeros(0)),
        keep=KeepRows(record=empty, position=empty, rule=empty),
        attend=(attend(), attend(), attend()),
        hidden=(hidden(labelled=False), hidden(labelled=True), hidden(labelled=False)),
        ids=tuple(str(i) for i in range(records)),
    )


def make_model(shape: Shape, context: int, kernel: str, device: torch.device, dtype: torch.dtype) -> LlamaForCausalLM:
    """The model under test, with one initialisation."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.keys,
        max_position_embeddings=context,
        tie_word_embeddings=shape.vocab > 100_000,
    )
    config._attn_implementation = kernel
    return LlamaForCausalLM(config).to(device, dtype).train()
