"""MCD3xx: types and values."""

from __future__ import annotations

from ..diagnostics import Code, Severity

WRONG_TYPE = Code("MCD301", "wrong-type", "A value of another type than its place takes.")
OUT_OF_BOUNDS = Code("MCD302", "out-of-bounds", "A number outside the bounds of its place.")
UNKNOWN_WORD = Code("MCD303", "unknown-word", "A word that its place does not know.")
MIXED_ALGEBRA = Code("MCD304", "mixed-algebra", "Two set operators are mixed without parentheses.")
BAD_TEMPLATE = Code("MCD305", "bad-template", "A text template is malformed.")
BAD_PATTERN = Code("MCD306", "bad-pattern", "The linear-time engine refuses a regular expression.")
EMPTY_PHRASE = Code("MCD307", "empty-phrase", "A phrase or a text has no character to match.")
NESTED_TOO_DEEP = Code("MCD308", "nested-too-deep", "A definition is nested deeper than the limit.")
TOO_LARGE = Code("MCD309", "too-large", "A definition is larger than the limit once its names are written out.")
BAD_SHARES = Code("MCD310", "bad-shares", "Shares do not add up to 100%.")
ATTRIBUTES_CLASH = Code("MCD311", "attributes-clash", "Attributes of one block exclude or require each other.")
OFFSETS_OF = Code("MCD312", "offsets-of", "Offsets do not say which field they are counted in.")
LISTED_TWICE = Code("MCD313", "listed-twice", "A list or a map holds an entry twice.")
BUILT_IN_ATTRIBUTE = Code("MCD314", "built-in-attribute", "A key of the data is renamed to a built-in attribute.")
DIVISION_BY_ZERO = Code("MCD315", "division-by-zero", "A constant is divided by zero.")
TARGETS_CLASH = Code("MCD320", "targets-clash", "Two signals pull the same hidden states toward different anchors.")
BOUNDS_CLASH = Code("MCD321", "bounds-clash", "Attention bounds on one head add up to more than 1.")
FORWARD_JOIN = Code("MCD322", "forward-join", "A join can give only edges forward in time.")
IS_A_CYCLE = Code("MCD323", "is-a-cycle", "`is_a` relations form a circle.")
RELATIONS_CLASH = Code("MCD324", "relations-clash", "Relations contradict each other, or relate a concept to itself.")
SILENT_RULE = Code("MCD340", "silent-rule", "A rule acts at no time of training.", Severity.WARNING)
NOTHING_TRAINS = Code(
    "MCD341", "nothing-trains", "A part of training has no loss: every token has weight 0, and no rule acts."
)
CANCELLED_WEIGHT = Code(
    "MCD342",
    "cancelled-weight",
    "A weight is multiplied by 0, since another rule takes the same spans.",
    Severity.WARNING,
)
SPAN_NOT_SEEN = Code(
    "MCD350", "span-not-seen", "A span matches nothing in the records that were looked at.", Severity.WARNING
)
RULE_NOT_SEEN = Code(
    "MCD351", "rule-not-seen", "A rule finds nothing in the records that were looked at.", Severity.WARNING
)
OUTSIDE_DEPTH = Code(
    "MCD370",
    "outside-depth",
    "A stage names layers, or switches on a rule that reads layers, which its depth leaves out.",
)
NOT_REACHED = Code("MCD371", "not-reached", "A stage trains layers that the gradient of no loss reaches in it.")

MEASURE_MISPLACED = Code(
    "MCD360", "measure-misplaced", "`measure` or `live` stands where no number per token or record is taken."
)
LIVE_ORDER = Code("MCD361", "live-order", "`order` reads what only a pass of the training model knows.")
CONSTANT_SCORE = Code("MCD362", "constant-score", "A score is the same for every token or record.")

CHAT_FILE = Code("MCD380", "chat-file", "A file gives no chat template.")
CHAT_SYNTAX = Code("MCD381", "chat-syntax", "A chat template is broken.")
CHAT_WORD = Code("MCD382", "chat-word", "A chat template uses a part of Jinja that is not rendered here.")
NO_CHAT_TEMPLATE = Code("MCD383", "no-chat-template", "A source holds messages, and no model names a chat template.")
CHAT_TOKENS = Code("MCD384", "chat-tokens", "A chat template reads special tokens that no config beside it gives.")
CLAIM_TIME = Code(
    "MCD391", "claim-time", "A claim about a trained model lacks `trained`, or one about the data has it."
)
NO_METRIC = Code("MCD392", "no-metric", "A claim asks a rule for a number that rules of its kind do not have.")
