"""What the words of the language mean, in a line each: shown where a cursor rests on one, or where it is proposed.

What `vocabulary` says about an attribute or an argument (its type, its default, what it may be) is added to the line.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..vocabulary import (
    ANCHORS,
    BLOCKS,
    COVERAGE,
    FORMATS,
    HEADS_FILE,
    MAPS,
    MEASURE,
    NEXT,
    RAMP,
    REQUIRED,
    SELECTORS,
    SPLIT_STRIDE,
    STAGE_FACTOR,
    Entry,
    Table,
    Type,
)

FUNCTIONS: Mapping[str, Table] = {
    **SELECTORS,
    **FORMATS,
    **ANCHORS,
    **MAPS,
    "next": NEXT,
    "heads": HEADS_FILE,
    "split": SPLIT_STRIDE,
    "ramp": RAMP,
    "coverage": COVERAGE,
    "measure": MEASURE,
}
"""Everything that is called, with its parameters."""

KEYWORDS: Mapping[str, str] = {
    "mcd": "The edition of the language that the file is written in: `mcd 1`, on the first line.",
    "import": 'Makes the names of another file known: `import "concepts/logic.mcd" as logic`, then `logic.cause`.',
    "let": "A constant: `let middle: layers = 50%..75%`, named `$middle`; `--set middle=60%` gives it another value.",
    "model": "The contract that layers, heads and widths are checked against, and what tokenises the text.",
    "teacher": "Another model, whose hidden states or logits are targets.",
    "source": "Where records come from, which split each is in, and the text that it renders to.",
    "span": "Names a set of spans per record.",
    "concept": "A node: the spans that express it and, if it has an anchor, a unit vector in the hidden space.",
    "relate": "Bounds the cosine between the hidden states of one concept's spans and the anchor of another.",
    "attend": "Asks each query token to place attention probability on its keys: `attend QUERY -> KEY where ...`.",
    "signal": "Reads the hidden state of spans at layers: `toward` a vector, `classify`, `contrast` or `predict`.",
    "weigh": "Multiplies the loss of the predicted tokens in a set.",
    "keep": "Keeps the share of tokens that a score ranks first; the others get factor 0.",
    "gradient": "What happens to the gradients of blocks, and where those of rules and of the token loss disagree.",
    "curriculum": "What happens over training time: the mix of sources, their order, and stages.",
    "stage": "A part of training time: `stage NAME 20% { ... }`. Stages add up to 100%.",
    "frame": "A bundle of rules with parameters, which `use` writes out.",
    "use": "Writes out a frame: `use binding(pronoun, noun) as anaphora` declares `anaphora.copy` and the like.",
    "expect": "A claim that compiling checks, or training with `trained`.",
    "trained": "A claim about the trained model, checked by `mcd evaluate`.",
    "as": "The name under which an imported file or a used frame is known.",
    "of": "Restricts a span to the records of one source.",
    "like": "Parallel offsets: `relate france -> paris like germany -> berlin`.",
    "where": "Filters spans by a condition, or pairs of query and key; takes all to its right.",
    "before": "`a before b`: `a.end <= b.start`.",
    "after": "`a after b` is `b before a`.",
    "in": "`a in b`: the spans of `a` that lie inside one of `b`; in a condition, membership in a list.",
    "or": "Either condition; in a join, a union of joins.",
    "and": "Both conditions.",
    "not": "The opposite of a condition.",
    "tokens": "Each token as a span.",
    "record": "The whole text as one span.",
    "final": "The residual stream after the final norm.",
    "query": "The query span of a pair.",
    "key": "The key span of a pair.",
}

ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "model": {
        "config": "A Hugging Face config.json, which gives layers, heads, width and vocabulary.",
        "layers": "The number of blocks.",
        "heads": "The number of query heads per layer.",
        "hidden": "The width of the residual stream.",
        "vocab": "The size of the vocabulary.",
        "causal": "Whether a token attends to those before it alone.",
        "tokenizer": "A tokenizer.json of the tokenizers library.",
        "context": "The longest text, in tokens.",
        "overflow": "What happens to a longer text.",
        "weights": "The model's weights, which `embedding` anchors read.",
        "lost": "What happens about rows that come to nothing, where a rule does not say.",
    },
    "source": {
        "id": "The field that holds a record's id; without it, its position counts.",
        "split": "Which split a record is in: by a hash of its id, by a field, or one for all.",
        "text": "The text that a record renders to, with `{.field}` for its fields.",
    },
    "concept": {
        "spans": "The spans that express the concept.",
        "anchor": "Its direction in the hidden space.",
    },
    "attend": {
        "heads": "The heads that the rule is about: `any`, `all`, `mean`, or numbers from 0.",
        "at": "Pairs of layer and head, from a file, instead of `layers` and `heads`.",
        "pick": "Which keys of a query count.",
        "max_edges": "The most pairs per token of a record.",
        "mass": "The probability that each query token should place on its keys, at least.",
        "loss": "`nll`: -log p; `hinge`: up to `mass`; `kl`: spread evenly over the keys.",
        "avoid": "Turns the bound around: at most `mass`.",
        "each": "Bounds every key on its own.",
    },
    "signal": {
        "toward": "An anchor or a field of vectors that the hidden state is pulled toward.",
        "classify": "A label that an affine probe should read from the hidden state.",
        "classes": "The number of classes, or their labels in the order of the probe's outputs.",
        "loss": "`cosine`: 1 - cos; `mse`: the mean squared error.",
        "contrast": "Pulls spans of equal value together and apart from all others.",
        "temperature": "What cosines of a contrast are divided by.",
        "scope": "Whether a contrast compares within a record, or over the whole batch.",
        "predict": "What the final norm and head should read from the hidden state: `next(n)`, or a field.",
        "through": "A trained map of the hidden state before it is compared.",
    },
    "relate": {"margin": "The bound on the cosine."},
    "weigh": {
        "factor": "What the token loss is multiplied by.",
        "only": "Gives factor 0 to every token outside the set.",
    },
    "keep": {
        "score": "What tokens are ranked by: numbers of a measure, `live.loss`, and arithmetic over them.",
        "top": "The share of the tokens that is kept, from the highest score down.",
        "bottom": "The share of the tokens that is kept, from the lowest score up.",
        "per": "Whether tokens are ranked within a record, or over the whole batch.",
    },
    "gradient": {
        "scale": "What the parameter gradients of blocks are multiplied by: `{0..2: 0.1}`; 0 is the embedding.",
        "stop": "Where no gradient flows down, but for those of rules that read below.",
        "conflicts": "`project` removes from the rules' gradient what goes against that of the token loss; `sum` adds them.",
    },
    "curriculum": {
        "mix": "The shares of tokens that come from each source.",
        "order": "What records are ordered by.",
    },
    "stage": {
        "only": "The rules that act in this stage; all others are silent.",
        "token_loss": "The factor of the token loss.",
        "depth": "The blocks that run in this stage, 1 to this one.",
        "train": "The blocks whose parameters are trained in this stage.",
    },
    "": {
        "layers": "The layers that the rule reads: `4`, `4..6`, `-1`, `50%`, `final`, or a list.",
        "weight": "What the rule's loss is multiplied by.",
        "per": "Whether the mean is over rows, or over records after a mean within each.",
        "pool": "What becomes of the tokens of a span.",
        "lost": "What happens about rows that come to nothing.",
    },
}
"""By kind of block; `""` for those of several."""

CALLED: Mapping[str, str] = {
    "phrases": "Literal phrases, leftmost-longest, without overlap.",
    "regex": "A pattern of the linear-time engine, leftmost-longest, without overlap.",
    "offsets": "Spans that a field lists as `{start, end, ...}`; further keys are attributes.",
    "slot": "What the template put where the field stands.",
    "markup": "What stands between `[[` and `|label]]` in a field; the text holds it without the marks.",
    "special": "Added tokens by their names.",
    "first": "The first spans of each record.",
    "last": "The last spans of each record.",
    "predicting": "The tokens whose next token lies in a set.",
    "jsonl": "One JSON object per line.",
    "parquet": "Parquet files.",
    "csv": "CSV files with a header.",
    "arrow": "Arrow IPC files.",
    "conllu": "CoNLL-U: a sentence is a record, its words are a list that `offsets` reads.",
    "vector": "A tensor of a safetensors file.",
    "embedding": "The mean of the model's input embeddings of a text.",
    "orthonormal": "A unit vector orthogonal to all other such anchors.",
    "learned": "A unit vector that is trained along.",
    "linear": "An affine map.",
    "mlp": "A map with one layer between.",
    "next": "The token n after a row's.",
    "heads": "Pairs of layer and head, from a file.",
    "split": "Parts of the context's length, which overlap by `stride` tokens.",
    "hash": "Shares of splits by a digest of the id: `hash(train: 90%, valid: 10%)`.",
    "ramp": "A factor that goes from one value to another over its stage.",
    "coverage": "The number of spans of a set.",
    "measure": "A number per token that `mcd measure` wrote.",
    "length": "The length of a text in characters.",
    "linked": "Joins by a record's own list of pairs: `linked(.align, query.index, key.index)`.",
}


def attribute_doc(kind: str, name: str) -> str | None:
    """What an attribute of a block means, with what may stand there; None for one that there is not."""
    entry = STAGE_FACTOR if kind == "stage" and name.endswith(".factor") else BLOCKS[kind].entries.get(name)
    if entry is None:
        return None
    said = ATTRIBUTES.get(kind, {}).get(entry.name) or ATTRIBUTES[""].get(entry.name)
    return "\n\n".join(filter(None, [said, described(entry)]))


def function_doc(name: str) -> str | None:
    """What something that is called means, with its parameters; None for what is not."""
    table, said = FUNCTIONS.get(name), CALLED.get(name)
    if table is None:
        return said
    parameters = ", ".join(f"{entry.name}: {entry.type.one}" for entry in table.entries.values())
    return "\n\n".join(filter(None, [said, f"`{name}`({parameters})"]))


def described(entry: Entry) -> str:
    """What an entry of a table takes."""
    parts = [entry.type.one]
    if entry.type is Type.WORD and entry.words:
        parts = [", ".join(f"`{word}`" for word in entry.words)]
    if entry.bounds is not None:
        parts.append(str(entry.bounds))
    if entry.default is REQUIRED:
        parts.append("required")
    elif isinstance(entry.default, bool):
        parts.append(f"default `{str(entry.default).lower()}`")
    elif isinstance(entry.default, str | int | float):
        parts.append(f"default `{entry.default}`")
    return "; ".join(parts)
