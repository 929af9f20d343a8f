"""The words of the language as tables: kinds of block with their attributes, functions with their parameters.

A new attribute or selector is one entry here; the checker, editors and the reference read the same tables. An `Entry` says what
stands at one name: its type, its default, and what its value may be.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final


class Type(Enum):
    """A type of value: one of it, and many of it, in the words of a message."""

    NUMBER = ("a number", "numbers")
    COUNT = ("a whole number", "whole numbers")
    SHARE = ("a percentage", "percentages")
    BOOL = ("`true` or `false`", "`true` or `false`")
    WORD = ("a word", "words")
    STRING = ("a string", "strings")
    PATH = ("a path", "paths")
    WEIGHTS = ("a file or a folder of weights", "files and folders of weights")
    MODEL_FOLDER = ("a folder of weights or `start`", "folders of weights and `start`")
    FIELD = ("a field", "fields")
    LAYERS = ("layer numbers", "layer numbers")
    DEPTH = ("a number of blocks or a percentage", "numbers of blocks and percentages")
    SCALES = ("a map from layers to numbers", "maps from layers to numbers")
    LAYER = ("a layer of the teacher", "layers of a teacher")
    TEACHER = ("a teacher", "teachers")
    HEADS = ("heads", "heads")
    PAIRS = ("a list of layers and heads", "lists of layers and heads")
    SPAN = ("a span set", "span sets")
    RENAMES = ("a map of names", "maps of names")
    ANCHOR = ("an anchor", "anchors")
    OVERFLOW = ("a treatment of long texts", "treatments of long texts")
    SPLIT = ("a split", "splits")
    CHAT = ("the file of a chat template", "files of chat templates")
    TEMPLATE = ("a text template or a field", "text templates and fields")
    TARGET = ("an anchor, a field or a teacher's hidden state", "anchors, fields and hidden states of teachers")
    LABEL = ("a field or an attribute", "fields and attributes")
    CLASSES = ("a number of classes or a list of labels", "numbers of classes and lists of labels")
    FACTOR = ("a number, a field or a score", "numbers, fields and scores")
    SCORE = ("a score", "scores of tokens")
    ORDER = ("a score", "scores of records")
    MIX = ("shares of sources", "maps of sources to shares")
    TOKEN = ("`next(n)`, a field or a teacher's logits", "`next(n)`, fields and logits of teachers")
    MAP = ("a map", "maps")
    RAMP = ("a number or a ramp", "numbers and ramps")
    CONCEPT = ("a concept", "concepts")
    ATTRIBUTE = ("an attribute", "attributes")
    RULE = ("a rule", "rules")
    LIST = ("a list", "lists")
    RULES = ("a list of rules", "lists of rules")
    METRIC = ("a metric", "metrics")

    @property
    def one(self) -> str:
        return self.value[0]

    @property
    def many(self) -> str:
        return self.value[1]


class _Required(Enum):
    REQUIRED = "required"


REQUIRED: Final = _Required.REQUIRED
"""The default of an entry that must be given."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """An interval that a number must lie in; None is no bound."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def hold(self, value: float) -> bool:
        """Whether `value` lies in the interval."""
        above = self.low is None or value > self.low or (value == self.low and not self.low_open)
        below = self.high is None or value < self.high or (value == self.high and not self.high_open)
        return above and below

    def __str__(self) -> str:
        low = None if self.low is None else f"{'above' if self.low_open else 'at least'} {self.low:g}"
        high = None if self.high is None else f"{'below' if self.high_open else 'at most'} {self.high:g}"
        return " and ".join(part for part in (low, high) if part)


POSITIVE = Bounds(low=1)
ABOVE_ZERO = Bounds(low=0, low_open=True)
NOT_NEGATIVE = Bounds(low=0)
UNIT = Bounds(low=0, high=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands at one name, an attribute of a block or a parameter of a function.

    `words`: what a WORD may be. `variadic`: any number of positional arguments. `keyword`: never positional. `needs`: the
    attributes of which one must stand beside it. `gives_way`: the attribute that says its part, beside which it cannot stand.
    """

    name: str
    type: Type
    default: Any = None
    words: tuple[str, ...] = ()
    bounds: Bounds | None = None
    variadic: bool = False
    keyword: bool = False
    needs: tuple[str, ...] = ()
    gives_way: str | None = None

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True)
class Table:
    """The names of a block or a function."""

    entries: Mapping[str, Entry]


def _with(table: Table, name: str, **changes: Any) -> Table:
    """The table with one entry changed."""
    return replace(table, entries={**table.entries, name: replace(table.entries[name], **changes)})


def _table(*entries: Entry) -> Table:
    return Table({entry.name: entry for entry in entries})


# --- blocks ----------------------------------------------------------------------------------------------------------

LOST = Entry("lost", Type.WORD, words=("warn", "drop", "error"))
WEIGHT = Entry("weight", Type.NUMBER, 1.0, bounds=NOT_NEGATIVE)
PER = Entry("per", Type.WORD, "row", words=("row", "record"))
LAYERS = Entry("layers", Type.LAYERS, REQUIRED)
POOL = Entry("pool", Type.WORD, words=("each", "first", "last", "mean"))

HEAD_WORDS = ("any", "all", "mean")
OVERFLOWS = ("truncate", "split", "drop", "error")
DTYPES = ("float16", "float32")
"""In what a target is stored; the first where nothing is said."""

MODEL_NUMBERS = ("layers", "heads", "hidden", "vocab", "causal")

BLOCKS: Mapping[str, Table] = {
    "model": _table(
        Entry("config", Type.PATH),
        Entry("layers", Type.COUNT, bounds=POSITIVE),
        Entry("heads", Type.COUNT, bounds=POSITIVE),
        Entry("hidden", Type.COUNT, bounds=POSITIVE),
        Entry("vocab", Type.COUNT, bounds=POSITIVE),
        Entry("causal", Type.BOOL),
        Entry("tokenizer", Type.PATH, REQUIRED),
        Entry("context", Type.COUNT, REQUIRED, bounds=POSITIVE),
        Entry("overflow", Type.OVERFLOW),
        Entry("weights", Type.WEIGHTS),
        Entry("lost", Type.WORD, "warn", words=LOST.words),
        Entry("chat", Type.CHAT),
    ),
    "teacher": _table(
        Entry("config", Type.PATH),
        Entry("weights", Type.MODEL_FOLDER, REQUIRED),
        Entry("run", Type.WORD, words=("cached", "online")),
        Entry("tokenizer", Type.PATH),
    ),
    "source": _table(
        Entry("id", Type.FIELD),
        Entry("split", Type.SPLIT),
        Entry("text", Type.TEMPLATE),
        Entry("chat", Type.FIELD),
    ),
    "concept": _table(Entry("spans", Type.SPAN), Entry("anchor", Type.ANCHOR)),
    "attend": _table(
        replace(LAYERS, gives_way="at"),
        Entry("heads", Type.HEADS, REQUIRED, gives_way="at"),
        Entry("at", Type.PAIRS),
        Entry("pick", Type.WORD, "all", words=("all", "nearest", "first", "last")),
        Entry("max_edges", Type.COUNT, 64, bounds=POSITIVE),
        Entry("mass", Type.NUMBER, bounds=UNIT),
        Entry("loss", Type.WORD, words=("nll", "hinge", "kl")),
        Entry("avoid", Type.BOOL, False),
        Entry("each", Type.BOOL, False),
        WEIGHT,
        PER,
        LOST,
    ),
    "signal": _table(
        LAYERS,
        Entry("toward", Type.TARGET),
        Entry("classify", Type.LABEL),
        Entry("classes", Type.CLASSES, bounds=Bounds(low=2), needs=("classify",)),
        Entry("loss", Type.WORD, words=("cosine", "mse"), needs=("toward",)),
        Entry("contrast", Type.LABEL),
        Entry("temperature", Type.NUMBER, bounds=ABOVE_ZERO, needs=("contrast", "predict")),
        Entry("scope", Type.WORD, "record", words=("record", "batch"), needs=("contrast",)),
        Entry("predict", Type.TOKEN),
        Entry("through", Type.MAP),
        Entry("dtype", Type.WORD, words=DTYPES, needs=("toward",)),
        POOL,
        WEIGHT,
        PER,
        LOST,
    ),
    "relate": _table(LAYERS, Entry("margin", Type.NUMBER, REQUIRED, bounds=UNIT), POOL, WEIGHT, PER, LOST),
    "weigh": _table(Entry("factor", Type.FACTOR, bounds=NOT_NEGATIVE), Entry("only", Type.BOOL, False), LOST),
    "keep": _table(
        Entry("score", Type.SCORE, REQUIRED),
        Entry("top", Type.SHARE),
        Entry("bottom", Type.SHARE),
        Entry("per", Type.WORD, "record", words=("record", "batch")),
        LOST,
    ),
    "stage": _table(
        Entry("only", Type.RULES),
        Entry("token_loss", Type.RAMP, bounds=NOT_NEGATIVE),
        Entry("depth", Type.DEPTH),
        Entry("train", Type.LAYERS),
    ),
    "curriculum": _table(Entry("mix", Type.MIX, ()), Entry("order", Type.ORDER)),
    "gradient": _table(
        Entry("scale", Type.SCALES, (), bounds=NOT_NEGATIVE),
        Entry("stop", Type.LAYERS),
        Entry("conflicts", Type.WORD, "sum", words=("sum", "project")),
    ),
}

STAGE_FACTOR = Entry("factor", Type.RAMP, bounds=NOT_NEGATIVE)
"""`NAME.factor` in a stage."""

RELATIONS = ("is_a", "opposes", "distinct")
LIKE = _with(BLOCKS["relate"], "margin", default=1.0)
"""The block of `relate a -> b like c -> d`."""

# --- functions -------------------------------------------------------------------------------------------------------

_SPANS = Entry("spans", Type.SPAN, REQUIRED)
_HOW_MANY = Entry("count", Type.COUNT, REQUIRED, bounds=POSITIVE)
_IGNORE_CASE = Entry("ignore_case", Type.BOOL, False, keyword=True)

SELECTORS: Mapping[str, Table] = {
    "phrases": _table(
        Entry("phrases", Type.STRING, variadic=True),
        _IGNORE_CASE,
        Entry("words", Type.BOOL, True, keyword=True),
        Entry("file", Type.PATH, keyword=True),
    ),
    "regex": _table(Entry("pattern", Type.STRING, REQUIRED), _IGNORE_CASE),
    "offsets": _table(
        Entry("path", Type.FIELD, REQUIRED),
        Entry("of", Type.FIELD, keyword=True),
        Entry("rename", Type.RENAMES, (), keyword=True),
    ),
    "slot": _table(Entry("path", Type.FIELD, REQUIRED)),
    "markup": _table(Entry("path", Type.FIELD, REQUIRED)),
    "special": _table(Entry("tokens", Type.STRING, variadic=True)),
    "first": _table(_SPANS, _HOW_MANY),
    "last": _table(_SPANS, _HOW_MANY),
    "predicting": _table(_SPANS),
}

PRELUDE_SETS = ("tokens", "record")
STEPS = ("first", "last", "next", "previous")
BUILT_INS = ("text", "start", "end", "index")

_FILES = _table(Entry("files", Type.STRING, variadic=True))
FORMATS: Mapping[str, Table] = dict.fromkeys(("jsonl", "parquet", "csv", "arrow", "conllu"), _FILES)
FORMAT_TEXTS: Mapping[str, tuple[str, ...]] = {"conllu": ("text",)}
"""The field that a source's text is where it has no `text`."""

ANCHOR_WORDS = ("orthonormal", "learned")
ANCHORS: Mapping[str, Table] = {
    "vector": _table(Entry("file", Type.PATH, REQUIRED), Entry("key", Type.STRING, REQUIRED)),
    "embedding": _table(Entry("text", Type.STRING, REQUIRED)),
    "centroid": _table(Entry("teacher", Type.TEACHER, REQUIRED), Entry("layer", Type.LAYER, REQUIRED)),
}

HIDDEN = _table(Entry("layer", Type.LAYER, REQUIRED))
"""`NAME.hidden(layer: k)` of a teacher."""

NEXT = _table(Entry("count", Type.COUNT, REQUIRED, bounds=POSITIVE))
"""`next(n)`: the token n after a row's."""

_WIDTH = Entry("width", Type.COUNT, bounds=POSITIVE, keyword=True)
MAPS: Mapping[str, Table] = {
    "linear": _table(_WIDTH),
    "mlp": _table(Entry("hidden", Type.COUNT, REQUIRED, bounds=POSITIVE, keyword=True), _WIDTH),
}
"""What `through` may be."""

HEADS_FILE = _table(Entry("file", Type.PATH, REQUIRED))
SPLIT_STRIDE = _table(Entry("stride", Type.COUNT, 0, bounds=NOT_NEGATIVE, keyword=True))
RAMP = _table(
    Entry("start", Type.NUMBER, REQUIRED, bounds=NOT_NEGATIVE),
    Entry("end", Type.NUMBER, REQUIRED, bounds=NOT_NEGATIVE),
    Entry("shape", Type.WORD, "linear", words=("linear", "cosine", "exponential")),
)
_OF = Entry("of", Type.WORD, "train", keyword=True)
COVERAGE = _table(_SPANS, _OF)
"""`coverage(...)`, the claim that is decided while compiling."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that `mcd evaluate` computes of a trained model: the kinds of rule that have it, and where it can lie."""

    kinds: tuple[str, ...]
    bounds: Bounds


METRICS: Mapping[str, Metric] = {
    "mass": Metric(("attend",), UNIT),
    "satisfied": Metric(("attend", "relate", "like"), UNIT),
    "accuracy": Metric(("classify", "predict", "contrast"), UNIT),
    "cosine": Metric(("toward", "relate", "like"), Bounds(low=-1, high=1)),
    "loss": Metric(
        ("attend", "toward", "classify", "contrast", "predict", "distil", "relate", "like", "weigh"), Bounds(low=0)
    ),
}
"""What a claim under `expect trained` may be about."""

OF_RULE = _table(Entry("rule", Type.RULE, REQUIRED), _OF)
LOSS = _table(Entry("rule", Type.RULE), _OF)
"""`loss(RULE)`, or without a rule the token loss."""
GAIN = _table(Entry("metric", Type.METRIC, REQUIRED), Entry("over", Type.WORD, REQUIRED, keyword=True))

LIVE = ("loss",)
"""`live.NAME`: what the model that trains knows of a token."""
MEASURES = ("loss", "entropy", "excess_loss", "grad_norm", "volatility", "conflict", "influence")
MEASURE = _table(Entry("file", Type.STRING, REQUIRED), Entry("column", Type.WORD, REQUIRED, words=MEASURES))
"""`measure("file", column)`."""
_NAMING = frozenset(string.ascii_letters + string.digits + "_")


def names_measure(text: str) -> bool:
    """Whether a measure can be called `text`, as a file will be: letters, digits and `_`, and behind one of these `-` and `.`."""
    return text != "" and text[0] in _NAMING and _NAMING.union("-.").issuperset(text)


CONDITIONS = ("length", "linked")

LET_TYPES: Mapping[str, Type] = {
    "number": Type.NUMBER,
    "percentage": Type.SHARE,
    "layers": Type.LAYERS,
    "heads": Type.HEADS,
    "string": Type.STRING,
    "field": Type.FIELD,
    "span": Type.SPAN,
    "vector": Type.TARGET,
    "attribute": Type.ATTRIBUTE,
    "concept": Type.CONCEPT,
    "rule": Type.RULE,
}
"""Types of constants. `edges` and `source` are none: no place of a spec takes a constant for them."""

PARAMETER_TYPES: Mapping[str, Type] = {name: kind for name, kind in LET_TYPES.items() if name != "rule"}
"""Types of the parameters of a frame, in which nothing takes a rule."""

PLAIN_TYPES = (Type.NUMBER, Type.SHARE, Type.STRING, Type.FIELD, Type.ATTRIBUTE, Type.LIST)
"""Types of constants whose values mean the same in every spec."""

COUNTED_TYPES = (Type.LAYERS, Type.HEADS)
"""Types of constants that are counted against the model."""

DEFINED_TYPES = (Type.SPAN, Type.CONCEPT, Type.TARGET)
"""Types of constants that name spans and concepts."""
