"""Small plans, models and batches, written by hand: no tokenizer, no shard and no collator takes part."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from mcd.compiler.plan import (
    AttendPlan,
    ClassifyPlan,
    Contract,
    ContrastPlan,
    CrossRef,
    DistilPlan,
    GradientPlan,
    HiddenOf,
    KeepPlan,
    LikePlan,
    Line,
    LiveTerm,
    Plan,
    PredictPlan,
    RampPlan,
    RelatePlan,
    RulePlan,
    SpanSetRef,
    StagePlan,
    TeacherPlan,
    ThroughPlan,
    Tokenizer,
    TowardPlan,
    WeighPlan,
)
from mcd.runtime.batch import AttendRows, Batch, HiddenRows, KeepRows, WeighRows
from mcd.runtime.groups import Groups, group_rules, weighted

torch.set_num_threads(1)  # The models are tiny: more threads only wait for each other.

LAYERS, HEADS, WIDTH, VOCAB, CONTEXT = 3, 4, 16, 23, 32
TOKENS = SpanSetRef(set="tokens")
BASE = {"line": Line(file="a.mcd", line=3), "lost": "warn"}


# --- models ----------------------------------------------------------------------------------------------------------

_GPT2 = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "vocab_size": VOCAB, "n_positions": CONTEXT}
_GPT2 |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": None, "eos_token_id": None}
_LLAMA = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": 2, "hidden_size": WIDTH}
_LLAMA |= {"vocab_size": VOCAB, "intermediate_size": 24, "max_position_embeddings": CONTEXT, "pad_token_id": None}
_GEMMA = {"head_dim": 4, "sliding_window": CONTEXT}
_CONFIGS = {
    "gpt2": (GPT2Config, _GPT2),
    "llama": (LlamaConfig, _LLAMA),
    "mistral": (MistralConfig, _LLAMA | {"sliding_window": CONTEXT}),
    "qwen2": (Qwen2Config, _LLAMA),
    "qwen3": (Qwen3Config, _LLAMA | {"head_dim": 8}),
    "gemma2": (Gemma2Config, _LLAMA | _GEMMA | {"attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 4}),
    "gemma3": (Gemma3TextConfig, _LLAMA | _GEMMA),
}


def make_model(kind: str, *, attention: str = "sdpa", **settings: Any) -> nn.Module:
    """A random model whose attention is far from uniform, so that losses and gradients are not tiny."""
    config, values = _CONFIGS[kind]
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config(**(values | settings)), attn_implementation=attention)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.7 if "wpe" in name or "embed" in name or "wte" in name else 0.4)
    return model


def make_teacher(**settings: Any) -> nn.Module:
    """A Llama of 4 layers that is not the one of `make_model`."""
    model = make_model("llama", **({"num_hidden_layers": 4} | settings))
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.5, generator=generator)
    return model


# --- plans -----------------------------------------------------------------------------------------------------------


def make_attend(id: str = "look", **values: Any) -> AttendPlan:
    given: dict[str, Any] = {"layers": (2,), "heads": "all", "loss": "nll", "mass": None, "avoid": False, "each": False}
    given |= {"weight": 1.0, "per": "row", "edges": CrossRef(query=TOKENS, key=TOKENS)}
    return AttendPlan(id=id, **BASE, **(given | values))


def _hidden(**values: Any) -> dict[str, Any]:
    return {**BASE, "subject": TOKENS, "layers": (2,), "pool": "each", "weight": 1.0, "per": "row"} | values


def make_toward(id: str = "axis", **values: Any) -> TowardPlan:
    return TowardPlan(id=id, **({"anchor": "north", "field": None, "loss": "cosine"} | _hidden(**values)))


def make_classify(id: str = "read", **values: Any) -> ClassifyPlan:
    given = {"field": "label", "attribute": None, "classes": 3, "labels": None}
    return ClassifyPlan(id=id, **(given | _hidden(**values)))


def make_contrast(id: str = "group", **values: Any) -> ContrastPlan:
    given = {"field": None, "attribute": "entity", "temperature": 0.5, "scope": "record", "pool": "mean"}
    return ContrastPlan(id=id, **_hidden(**(given | values)))


def make_predict(id: str = "early", **values: Any) -> PredictPlan:
    return PredictPlan(id=id, **({"ahead": 1, "field": None} | _hidden(**values)))


def make_taught(id: str = "copy", layer: Any = 2, dtype: Any = None, **values: Any) -> TowardPlan:
    """Toward a layer of the teacher `t`, which runs online."""
    hidden = HiddenOf(teacher="t", layer=layer, dtype=dtype)
    return make_toward(id, **({"anchor": None, "hidden": hidden, "loss": "mse"} | values))


def make_distil(id: str = "soft", **values: Any) -> DistilPlan:
    return DistilPlan(id=id, **({"teacher": "t", "temperature": 2.0} | _hidden(**values)))


def make_teacher_plan(**values: Any) -> TeacherPlan:
    """What a plan has of `make_teacher`."""
    numbers = {"layers": 4, "heads": HEADS, "hidden": WIDTH, "vocab": VOCAB, "causal": True, "positions": CONTEXT}
    where = {"architecture": "llama", "weights": "t", "config": "t/config.json", "tokenizer": None, "run": "online"}
    return TeacherPlan(**{**numbers, **where, **values})


LINEAR = ThroughPlan(kind="linear", hidden=None, width=WIDTH)
MLP = ThroughPlan(kind="mlp", hidden=12, width=6)


def make_relate(id: str = "kin", **values: Any) -> RelatePlan:
    return RelatePlan(id=id, **({"relation": "is_a", "anchor": "north", "margin": 0.3} | _hidden(**values)))


def make_like(id: str = "shift", **values: Any) -> LikePlan:
    given = {"to": TOKENS, "anchor": "north", "anchor_to": "east", "margin": 1.0, "pool": "mean"}
    return LikePlan(id=id, **(_hidden(**(given | values))))


def make_weigh(id: str = "boost", **values: Any) -> WeighPlan:
    return WeighPlan(id=id, **BASE, **({"subject": TOKENS, "factor": 4.0, "field": None, "only": False} | values))


LIVE = LiveTerm(live="loss")


def make_keep(id: str = "hard", **values: Any) -> KeepPlan:
    given = {"subject": TOKENS, "score": (LIVE,), "end": "top", "share": 0.5, "per": "record"}
    return KeepPlan(id=id, **BASE, **(given | values))


def make_ramp(start: float, end: float | None = None, shape: str = "linear") -> RampPlan:
    return RampPlan(start=start, end=start if end is None else end, shape=shape)


def make_stage(name: str, start: float, end: float, **values: Any) -> StagePlan:
    given = {"factors": {}, "only": None, "token_loss": make_ramp(1.0)}
    return StagePlan(name=name, start=start, end=end, **(given | values))


def make_plan(
    *rules: RulePlan,
    stages: tuple[StagePlan, ...] = (),
    learned: tuple[str, ...] = (),
    gradient: GradientPlan | None = None,
    teacher: TeacherPlan | None = None,
    **contract: Any,
) -> Plan:
    numbers: dict[str, Any] = {"layers": LAYERS, "heads": HEADS, "hidden": WIDTH, "vocab": VOCAB, "context": CONTEXT}
    model = Contract(architecture=None, **(numbers | {"causal": True} | contract))
    return Plan(
        version="0", edition=1, spec="a.mcd", model=model, tokenizer=Tokenizer(digest="0"), columns=(), sets={},
        anchors={}, learned=learned, rules=rules, stages=stages, gradient=gradient,
        teachers={} if teacher is None else {"t": teacher},
    )  # fmt: skip


def make_anchors(seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(WIDTH, generator=generator) for name in ("north", "east")}


# --- batches ---------------------------------------------------------------------------------------------------------

AttendRow = tuple[int, int, list[int]]  # record, query position, key positions
HiddenRow = tuple[int, list[int]]  # record, token positions; for like, the positions of both sides


def make_batch(
    plan: Plan,
    lengths: list[int],
    rows: dict[str, list[Any]] | None = None,
    *,
    labels: dict[str, list[int]] | None = None,
    vectors: dict[str, Tensor] | None = None,
    weigh: dict[str, list[tuple[int, int, float]]] | None = None,
    keep: dict[str, list[tuple[int, int]]] | None = None,
    measures: Tensor | None = None,
    seed: int = 3,
    length: int | None = None,
) -> Batch:
    """A batch of random records of `lengths`, padded on the right, with the rows of each rule by its id."""
    generator = torch.Generator().manual_seed(seed)
    total = length or max(lengths)
    mask = (torch.arange(total) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(0, plan.model.vocab, (len(lengths), total), generator=generator) * mask
    scored = mask.bool()
    scored[:, 0] = False
    groups = group_rules(plan)
    found = rows or {}
    return Batch(
        input_ids=ids,
        attention_mask=mask,
        scored=scored,
        weigh=_weigh_rows(groups, weigh or {}),
        keep=_keep_rows(groups, keep or {}),
        attend=tuple(_attend_rows(group.rules, found, len(lengths)) for group in groups.attend),
        hidden=tuple(_hidden_rows(group.rules, found, labels or {}, vectors or {}) for group in groups.hidden),
        ids=tuple(f"r{i}" for i in range(len(lengths))),
        measures=measures,
    )


def _share(rule: Any, record: int, rows: list[Any]) -> float:
    return 1 / sum(row[0] == record for row in rows) if rule.per == "record" else 1.0


def _attend_rows(rules: Any, rows: dict[str, list[AttendRow]], records: int) -> AttendRows:
    by_record: list[list[Any]] = [[] for _ in range(records)]
    for i, rule in enumerate(rules):
        for record, query, keys in rows.get(rule.id, []):
            by_record[record].append((query, i, _share(rule, record, rows[rule.id]), keys))
    width = max(map(len, by_record))
    padded = [[*found, *[(0, 0, 0.0, [])] * (width - len(found))] for found in by_record]
    pairs = [(b, q, k) for b, found in enumerate(padded) for q, row in enumerate(found) for k in row[3]]
    valid = torch.arange(width) < torch.tensor([len(found) for found in by_record])[:, None]
    position, rule_, share = (
        torch.tensor([[row[i] for row in found] for found in padded]).view(records, width) for i in range(3)
    )
    pair = torch.tensor(pairs, dtype=torch.int64).view(-1, 3)
    weight = 0.25 * (1 + pair[:, 2] % 4) if weighted(rules[0]) else None
    return AttendRows(position.long(), valid, rule_.long(), share.float(), pair[:, 0], pair[:, 1], pair[:, 2], weight)


def _hidden_rows(rules: Any, rows: Any, labels: dict[str, list[int]], vectors: dict[str, Tensor]) -> HiddenRows:
    found = [(i, rule, row) for i, rule in enumerate(rules) for row in rows.get(rule.id, [])]
    tokens = [
        (record, at, n, (1 if to else -1) / len(side))
        for n, (_, _, (record, *sides)) in enumerate(found)
        for to, side in enumerate(sides)
        for at in side
    ]
    token = torch.tensor([columns[:3] for columns in tokens], dtype=torch.int64).view(-1, 3)
    weight = torch.tensor([columns[3] for columns in tokens]) if isinstance(rules[0], LikePlan) else None
    label = [n for rule in rules for n in labels.get(rule.id, [])]
    vector = [v for rule in rules if rule.id in vectors for v in vectors[rule.id]]
    cells = [i * 99 + (record if getattr(rule, "scope", "") == "record" else 0) for i, rule, (record, *_) in found]
    alike = [
        sum(pair == other for other in zip(cells, label, strict=False)) for pair in zip(cells, label, strict=False)
    ]
    contrast = any(isinstance(rule, ContrastPlan) for rule in rules)
    return HiddenRows(
        record=token[:, 0],
        position=token[:, 1],
        row=token[:, 2],
        rule=torch.tensor([i for i, _, _ in found], dtype=torch.int64),
        share=torch.tensor(
            [
                _share(rule, row[0], rows[rule.id]) * (not contrast or alike[n] > 1)
                for n, (_, rule, row) in enumerate(found)
            ]
        ),
        label=torch.tensor(label, dtype=torch.int64),
        vector=torch.stack(vector) if vector else None,
        members=_members(cells) if contrast else None,
        weight=weight,
    )


def _members(cells: list[int]) -> Tensor:
    groups = [[n for n, other in enumerate(cells) if other == cell] for cell in sorted(set(cells))]
    width = max(map(len, groups), default=1)
    return torch.tensor([group + [-1] * (width - len(group)) for group in groups], dtype=torch.int64).view(-1, width)


def _weigh_rows(groups: Groups, weigh: dict[str, list[tuple[int, int, float]]]) -> WeighRows:
    found = [(*row, i) for i, rule in enumerate(groups.weigh) for row in weigh.get(rule.id, [])]
    columns = [torch.tensor([row[i] for row in found]) for i in range(4)]
    return WeighRows(columns[0].long(), columns[1].long(), columns[3].long(), columns[2].float())


def _keep_rows(groups: Groups, keep: dict[str, list[tuple[int, int]]]) -> KeepRows:
    found = [(*row, i) for i, rule in enumerate(groups.keep) for row in keep.get(rule.id, [])]
    return KeepRows(*(torch.tensor([row[i] for row in found], dtype=torch.int64) for i in range(3)))


# --- one of everything -----------------------------------------------------------------------------------------------

LOOKS = [(0, 5, [1, 2]), (0, 8, [0, 3, 7]), (0, 3, [3]), (1, 4, [0, 4]), (1, 2, [1])]
SPANS = [(0, [1, 2, 3]), (0, [7]), (1, [0, 4])]
OFFSETS = [(0, [1, 2], [5, 6, 7]), (0, [3], [8]), (1, [0], [2, 4])]
SPREAD = [(0, [2]), (0, [8]), (1, [1]), (1, [4])]

EVERYTHING = (
    make_attend("a", heads="any", layers=(1, 2), weight=0.5),
    make_attend("b", heads="any", layers=(1, 2), weight=0.25),
    make_attend("c", loss="hinge", mass=0.9, heads=(0, 2), layers=(2,)),
    make_attend("d", loss="hinge", mass=0.3, heads=(0, 2), layers=(2,), avoid=True),
    make_toward("e", weight=0.2),
    make_toward("f", anchor="east", weight=0.4),
    make_classify("g", layers=(1, 2), weight=0.3),
    make_relate("h", margin=0.9),
    make_weigh(),
)
EVERY_ROW = {
    "a": LOOKS,
    "b": LOOKS[2:],
    "c": LOOKS,
    "d": LOOKS[:3],
    "e": SPREAD,
    "f": SPREAD[1:],
    "g": SPREAD,
    "h": SPREAD,
}
