"""The token loss in chunks against whole logits: CPU seconds and peak memory of a step.

    python benchmarks/token_loss.py

A Llama of 2 layers and width 256 with a vocabulary of 50,000 reads one record of 1,024 tokens; logits in float32 are 195 MiB.
Steps with and without chunks alternate in one process; each peak is of a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mcd.compiler.plan import Contract, Plan, Tokenizer
from mcd.runtime.batch import Batch, KeepRows, WeighRows
from mcd.runtime.supervise import supervise

VOCAB, TOKENS, WIDTH, LAYERS, HEADS = 50_000, 1_024, 256, 2, 4
CHUNKS: tuple[int | None, ...] = (None, 512, 256, 128)


def make_plan() -> Plan:
    """A plan without rules: the token loss alone."""
    sizes = {"layers": LAYERS, "heads": HEADS, "hidden": WIDTH, "vocab": VOCAB, "context": TOKENS}
    return Plan(
        version="0", edition=1, spec="-", model=Contract(architecture=None, causal=True, **sizes),
        tokenizer=Tokenizer(digest="0" * 32), columns=(), sets={}, anchors={}, rules=(), stages=(),
    )  # fmt: skip


def make_model() -> LlamaForCausalLM:
    """A random model."""
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH, "vocab_size": VOCAB}
    return LlamaForCausalLM(LlamaConfig(**sizes, intermediate_size=4 * WIDTH, max_position_embeddings=TOKENS))


def make_batch(share: float) -> Batch:
    """One record of random tokens, of which a share has a loss."""
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCAB, (1, TOKENS), generator=random)
    scored = torch.rand(1, TOKENS, generator=random) < share
    scored[:, 0] = False
    none = torch.zeros(0, dtype=torch.int64)
    weigh, keep = WeighRows(none, none, none, torch.zeros(0)), KeepRows(none, none, none)
    return Batch(ids, torch.ones_like(ids), scored, weigh, keep, (), (), ("r",))


def step(chunk: int | None, share: float = 1.0) -> float:
    """The CPU seconds of a pass forward and back."""
    with supervise(make_model(), make_plan(), chunk=chunk) as supervised:
        batch, began = make_batch(share), time.process_time()
        supervised(batch, time=0.0).loss.backward()
        return time.process_time() - began


def peak(chunk: int | None) -> float:
    """MiB that a step adds to a process with the model in it, gradients of 98 MiB among them."""
    command = [sys.executable, __file__, "--peak", str(chunk or 0)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def resident() -> float:
    """The most memory that this process has had so far, in MiB. (What `getrusage` says begins with that of its parent.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def main(arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    if arguments:
        chunk, model, batch = int(arguments[1]) or None, make_model(), make_batch(1.0)
        before = resident()
        with supervise(model, make_plan(), chunk=chunk) as supervised:
            supervised(batch, time=0.0).loss.backward()
        print(resident() - before)
        return
    for share in (1.0, 0.15):
        rounds = [[step(chunk, share) for chunk in CHUNKS] for _ in range(6)][1:]
        for place, chunk in enumerate(CHUNKS):
            ratios = sorted(found[place] / found[0] for found in rounds)
            name = "whole logits" if chunk is None else f"chunks of {chunk}"
            seconds = median(found[place] for found in rounds)
            print(
                f"{share:4.0%} scored  {name:14}  {seconds:6.2f} s  {median(ratios):5.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})"
            )
    for chunk in CHUNKS:
        print(f"{'whole logits' if chunk is None else f'chunks of {chunk}':14}  {peak(chunk):7.0f} MiB")


if __name__ == "__main__":
    main(sys.argv[1:])
