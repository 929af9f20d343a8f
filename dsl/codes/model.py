"""MCD4xx: the model contract."""

from __future__ import annotations

from ..diagnostics import Code, Severity

NO_MODEL = Code("MCD401", "no-model", "A model lacks the numbers that a spec is checked against.")
BAD_CONFIG = Code("MCD402", "bad-config", "A model's config.json cannot be read.")
CONFIG_LACKS = Code("MCD403", "config-lacks", "A model's config.json lacks a number, or has one that makes no sense.")
CONFIG_AND_NUMBERS = Code("MCD404", "config-and-numbers", "A model has a config and numbers beside it.")
CONTEXT_TOO_LONG = Code("MCD405", "context-too-long", "The context is longer than the model's positions.")
NO_SUCH_LAYER = Code("MCD407", "no-such-layer", "A layer that the model, or this kind of rule, does not have.")
NO_SUCH_HEAD = Code("MCD408", "no-such-head", "A head that the model does not have.")
VECTOR_WIDTH = Code("MCD409", "vector-width", "A vector has another shape than the model's hidden state.")
NO_SUCH_TENSOR = Code("MCD410", "no-such-tensor", "A safetensors file lacks the tensor.")
VECTOR_UNREADABLE = Code("MCD411", "vector-unreadable", "A file of vectors or weights cannot be read.")
TOO_MANY_ANCHORS = Code("MCD412", "too-many-anchors", "More orthonormal anchors than the hidden state has dimensions.")
NEEDS_WEIGHTS = Code("MCD413", "needs-weights", "An anchor needs the weights of the model.")
NO_ANCHOR = Code("MCD414", "no-anchor", "A rule needs the anchor, or the spans, of a concept that has none.")
NO_SUCH_TOKEN = Code("MCD420", "no-such-token", "The tokenizer has no special token of the name.")
NOT_A_DECODER = Code("MCD415", "not-a-decoder", "A model has an encoder and a decoder.")
NARROW_WINDOWS = Code(
    "MCD417", "narrow-windows", "Edges reach beyond the window of some layers of their rule.", Severity.WARNING
)
HEADS_FILE = Code("MCD416", "heads-file", "A file does not list layers and heads.")
TEACHER_WIDTH = Code(
    "MCD430", "teacher-width", "A teacher has another width than the model, and no map is between them."
)
TEACHER_TOKENIZER = Code("MCD431", "teacher-tokenizer", "What is asked of a teacher needs the tokenizer of the model.")
TEACHER_VOCABULARY = Code(
    "MCD432", "teacher-vocabulary", "A teacher's vocabulary is not that of the tokens it reads or predicts."
)
TEACHER_START = Code("MCD433", "teacher-start", "The model before training is not known when a spec is compiled.")
TEACHER_LOGITS = Code("MCD434", "teacher-logits", "Logits are read from a causal teacher that runs online.")
TEACHER_POSITIONS = Code("MCD435", "teacher-positions", "A teacher has fewer positions than the context has tokens.")
