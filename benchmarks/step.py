"""A supervised training step over the plain step of the same model, in CPU seconds of one process.

Llama, 6 layers, width 384, 6 heads, vocabulary 8,192, float32, forward and backward. Three attention rules of 32 query rows
per record at three layers, one of them over every head of a layer, and two hidden rules (a classifier and an anchor). The
references take turns with it in one process: the plain step with the model's own kernel and the same token loss, and the
step with eager attention that returns every layer's weights.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from mcd.compiler.plan import (
    AttendPlan,
    ClassifyPlan,
    Contract,
    EdgeSetRef,
    Line,
    Plan,
    SetInfo,
    SpanSetRef,
    Tokenizer,
    TowardPlan,
)
from mcd.runtime.batch import AttendRows, Batch, HiddenRows, KeepRows, WeighRows
from mcd.runtime.losses.token import token_losses
from mcd.runtime.supervise import supervise

LAYERS, HEADS, WIDTH, VOCAB, ROWS, KEYS = 6, 6, 384, 8192, 32, 4
BASE = {"line": Line(file="bench.mcd", line=1), "lost": "warn", "weight": 1.0, "per": "row"}


def make_plan(context: int) -> Plan:
    """Three attention rules and two hidden rules."""
    edges = {f"{i:032x}": SetInfo(kind="edge", written="bench") for i in range(3)}
    subject = SpanSetRef(set="f" * 32)
    attend = {"mass": None, "avoid": False, "each": False, "loss": "nll", **BASE}
    rules = [
        AttendPlan(id="one", edges=EdgeSetRef(edges=f"{0:032x}"), layers=(2,), heads=(0,), **attend),
        AttendPlan(id="two", edges=EdgeSetRef(edges=f"{1:032x}"), layers=(3,), heads="any", **attend),
        AttendPlan(id="three", edges=EdgeSetRef(edges=f"{2:032x}"), layers=(5,), heads="all", **attend),
        ClassifyPlan(
            id="label",
            subject=subject,
            layers=(3,),
            pool="each",
            field="label",
            attribute=None,
            classes=8,
            labels=None,
            **BASE,
        ),
        TowardPlan(
            id="axis", subject=subject, layers=(4,), pool="each", anchor="axis", field=None, loss="cosine", **BASE
        ),
    ]
    contract = Contract(
        architecture="llama", layers=LAYERS, heads=HEADS, hidden=WIDTH, vocab=VOCAB, causal=True, context=context
    )
    return Plan(
        version="bench",
        edition=1,
        spec="bench.mcd",
        model=contract,
        tokenizer=Tokenizer(digest="0" * 32),
        columns=(),
        sets={**edges, "f" * 32: SetInfo(kind="span", written="bench")},
        anchors={"axis": "orthonormal"},
        rules=tuple(rules),
        stages=(),
    )


def make_batch(records: int, tokens: int) -> Batch:
    """Random tokens; 32 query rows per record and rule, each with four keys before it."""
    random = torch.Generator().manual_seed(0)

    def attend() -> AttendRows:
        position = torch.randint(KEYS, tokens, (records, ROWS), generator=random)
        record, row = torch.meshgrid(torch.arange(records), torch.arange(ROWS), indexing="ij")
        keys = (torch.rand((records, ROWS, KEYS), generator=random) * position[..., None]).long()
        return AttendRows(
            position=position,
            valid=torch.ones(records, ROWS, dtype=torch.bool),
            rule=torch.zeros(records, ROWS, dtype=torch.long),
            share=torch.ones(records, ROWS),
            pair_record=record.reshape(-1).repeat_interleave(KEYS),
            pair_row=row.reshape(-1).repeat_interleave(KEYS),
            pair_key=keys.reshape(-1),
        )

    def hidden(labelled: bool) -> HiddenRows:
        rows = records * ROWS
        return HiddenRows(
            record=torch.arange(records).repeat_interleave(ROWS),
            position=torch.randint(0, tokens, (rows,), generator=random),
            row=torch.arange(rows),
            rule=torch.zeros(rows, dtype=torch.long),
            share=torch.ones(rows),
            label=torch.randint(0, 8, (rows,), generator=random) if labelled else None,
            vector=None,
        )

    empty = torch.zeros(0, dtype=torch.long)
    scored = torch.ones(records, tokens, dtype=torch.bool)
    scored[:, 0] = False
    return Batch(
        input_ids=torch.randint(0, VOCAB, (records, tokens), generator=random),
        attention_mask=torch.ones(records, tokens, dtype=torch.long),
        scored=scored,
        weigh=WeighRows(record=empty, position=empty, rule=empty, factor=torch.zeros(0)),
        keep=KeepRows(record=empty, position=empty, rule=empty),
        attend=(attend(), attend(), attend()),
        hidden=(hidden(labelled=False), hidden(labelled=True)),
        ids=tuple(str(i) for i in range(records)),
    )


def make_model(context: int, kernel: str) -> LlamaForCausalLM:
    """The model under test, with one initialisation."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS // 2,
        max_position_embeddings=context,
    )
    config._attn_implementation = kernel
    return LlamaForCausalLM(config).train()


def plain_loss(model: LlamaForCausalLM, batch: Batch, **asked: bool) -> tuple[Tensor, Any]:
    """The token loss as the supervised step computes it, and all that the model returned."""
    out = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False, **asked)
    weights = batch.scored.float()
    return (token_losses(out.logits, batch.input_ids) * weights).sum() / weights.sum(), out


def cpu_seconds(step: Callable[[], Tensor], model: torch.nn.Module) -> float:
    """CPU seconds of one forward and backward pass."""
    model.zero_grad(set_to_none=True)
    start = time.process_time()
    step().backward()
    return time.process_time() - start


def compare(tokens: int, records: int, rounds: int) -> None:
    """Alternate the three steps and print the ratios of their medians."""
    batch = make_batch(records, tokens)
    plain, watched, eager = make_model(tokens, "sdpa"), make_model(tokens, "sdpa"), make_model(tokens, "eager")
    anchors = {"axis": torch.nn.functional.normalize(torch.ones(WIDTH), dim=0)}
    supervised = supervise(watched, make_plan(tokens), anchors=anchors)

    def eager_step() -> Tensor:
        loss, out = plain_loss(eager, batch, output_attentions=True)
        return loss + sum(weights[:, :, -1, 0].mean() for weights in out.attentions)

    sides: dict[str, tuple[Callable[[], Tensor], torch.nn.Module]] = {
        "plain": (lambda: plain_loss(plain, batch)[0], plain),
        "supervised": (lambda: supervised(batch, time=0.5).loss, supervised),
        "eager": (eager_step, eager),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, (step, model) in sides.items():
            taken = cpu_seconds(step, model)
            if turn:
                seconds[name].append(taken)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    pairs = sorted(s / p for s, p in zip(seconds["supervised"], seconds["plain"], strict=True))
    print(f"{tokens} tokens x {records} records: plain {middle['plain']:.2f} CPU s")
    print(f"  supervised over plain: {statistics.median(pairs):.3f} ({pairs[0]:.3f} to {pairs[-1]:.3f})")
    print(f"  eager with weights over plain: {middle['eager'] / middle['plain']:.3f}")
    print(f"  supervised over eager with weights: {middle['supervised'] / middle['eager']:.3f}")


def main() -> None:
    """512 and 1,024 tokens."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for tokens, records in ((512, 4), (1024, 2)):
        compare(tokens, records, options.rounds)


if __name__ == "__main__":
    main()
