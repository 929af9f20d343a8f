"""The plan: *how* a model is supervised, as `program.json` holds it.

The plan and the shards are all that the runtime reads. The plan refers to span and edge sets by the digest of their
canonical definition, never by a rule's name, so that a rule can change without touching a shard. Every model here is
frozen and refuses unknown fields; a file from a newer version is refused by `format` before it is read any further.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PLAN_FORMAT = 1
"""Raised by every change that an older reader would misread."""

Digest = str
"""Lower-case hexadecimal, the first 32 digits of a SHA-256."""

Layer = int | Literal["final"]


class Frozen(BaseModel):
    """A pydantic model that is frozen and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Contract(Frozen):
    """The model that layers and heads were resolved against. `windows`: by layer, of `dsl.windows`, as the context feels them."""

    architecture: str | None
    layers: int
    heads: int
    hidden: int
    vocab: int
    causal: bool
    context: int
    windows: tuple[int | None, ...] = ()


class Vocabulary(Frozen):
    """What masking has to know of a tokenizer: how many ids it has, those of its special tokens, and the one that stands for a
    masked token, None where the tokenizer does not tell."""

    size: int
    special: tuple[int, ...]
    mask: int | None


class Tokenizer(Frozen):
    """The tokenizer that made the shards: the digest of its file's content, and how many tokens it adds before and after a
    text. Added tokens belong to no span, `tokens` included. `bare`: the sources to whose texts it adds none, since a chat
    template gave them their own. `vocabulary`: of a model that is not causal."""

    digest: Digest
    prefix: int = 0
    suffix: int = 0
    bare: tuple[str, ...] = ()
    vocabulary: Vocabulary | None = None


class TeacherPlan(Frozen):
    """Another model. `weights`, `config`: its folder and its config.json, from the project's root; None for the model that is
    trained, as it is before training. `tokenizer`: the digest of its file; None where it reads the model's own tokens."""

    architecture: str | None
    layers: int
    heads: int
    hidden: int
    vocab: int
    causal: bool
    positions: int | None
    weights: str | None
    config: str | None
    tokenizer: Digest | None
    run: Literal["cached", "online"]


class SetInfo(Frozen):
    """A stored span set, or the pair of span sets behind a stored edge set, in the words of the spec."""

    kind: Literal["span", "edge"]
    written: str


class SpanSetRef(Frozen):
    """A span set of the shards, or one that is never stored: every token, or the whole record."""

    set: Digest | Literal["tokens", "record"]


class CentroidPlan(Frozen):
    """An anchor that is the mean of a teacher's hidden states over the spans of a set."""

    teacher: str
    layer: Layer
    subject: SpanSetRef


class EdgeSetRef(Frozen):
    """A stored edge set. `weighted`: its edges have weights."""

    edges: Digest
    weighted: bool = False


class CrossRef(Frozen):
    """Two span sets joined without a condition: every pair, never stored as pairs."""

    query: SpanSetRef
    key: SpanSetRef


class Line(Frozen):
    """A rule's line in its spec."""

    file: str
    line: int


class RuleBase(Frozen):
    """What every rule has."""

    id: str
    line: Line
    lost: Literal["warn", "drop", "error"]


class AttendPlan(RuleBase):
    """A bound on the attention probability that a query token places on its keys.

    `kl` takes its target from the weights of edges that have them, the others read no weight.
    Where `pairs` lists heads one by one, as [layer, head], `layers` are those that it names, and `heads` is `all` of them.
    """

    kind: Literal["attend"] = "attend"
    edges: EdgeSetRef | CrossRef
    layers: tuple[int, ...]
    heads: Literal["any", "all", "mean"] | tuple[int, ...]
    pairs: tuple[tuple[int, int], ...] = ()
    loss: Literal["nll", "hinge", "kl"]
    mass: float | None
    avoid: bool
    each: bool
    weight: float
    per: Literal["row", "record"]


class ThroughPlan(Frozen):
    """A trained map of the pooled hidden state to `width` numbers: affine, or with `hidden` numbers and a GELU between."""

    kind: Literal["linear", "mlp"]
    hidden: int | None
    width: int


class HiddenRule(RuleBase):
    """What every rule on the hidden state has. `through`: the map of the state that the rule reads in its place."""

    subject: SpanSetRef
    layers: tuple[Layer, ...]
    pool: Literal["each", "first", "last", "mean"]
    weight: float
    per: Literal["row", "record"]
    through: ThroughPlan | None = None

    @property
    def rows_key(self) -> str:
        """What its rows are counted under where they depend on a teacher: its set and its pool."""
        return f"{self.subject.set}/{self.pool}"


class HiddenOf(Frozen):
    """A teacher's hidden state at a layer. `dtype`: in what it is stored, None where the teacher runs online."""

    teacher: str
    layer: Layer
    dtype: Literal["float16", "float32"] | None

    @property
    def key(self) -> str:
        """What the manifest calls the stored states."""
        return f"{self.teacher}@{self.layer}:{self.dtype}"


class TowardPlan(HiddenRule):
    """Pulls the hidden state toward an anchor (a name in anchors.safetensors), a vector column (a field) or a teacher's hidden
    state. `dtype`: of the column."""

    kind: Literal["toward"] = "toward"
    anchor: str | None
    field: str | None
    loss: Literal["cosine", "mse"]
    dtype: Literal["float16", "float32"] = "float16"
    hidden: HiddenOf | None = None


class ClassifyPlan(HiddenRule):
    """Trains an affine probe to read a label: column `field.NAME`, or span attribute `span.at.NAME`."""

    kind: Literal["classify"] = "classify"
    field: str | None
    attribute: str | None
    classes: int
    labels: tuple[str, ...] | None


class ContrastPlan(HiddenRule):
    """Pulls rows of equal label together and apart from all others, within a record or the batch of every rank.

    The label stands in column `field.NAME` or in span attribute `span.at.NAME`, as a string or a whole number.
    """

    kind: Literal["contrast"] = "contrast"
    field: str | None
    attribute: str | None
    temperature: float
    scope: Literal["record", "batch"]


class PredictPlan(HiddenRule):
    """Reads the hidden state through the final norm and the head, for the token `ahead` of the row's last one, or for the
    token id in column `field.NAME`."""

    kind: Literal["predict"] = "predict"
    ahead: int | None
    field: str | None


class DistilPlan(HiddenRule):
    """Reads the hidden state through the final norm and the head, as a distribution that should be the teacher's. Both are at
    `temperature`."""

    kind: Literal["distil"] = "distil"
    teacher: str
    temperature: float


class RelatePlan(HiddenRule):
    """A bound on the cosine with an anchor: `is_a` at least margin, `opposes` at most -margin, `distinct` |cos| at most."""

    kind: Literal["relate"] = "relate"
    relation: Literal["is_a", "opposes", "distinct"]
    anchor: str
    margin: float


class LikePlan(HiddenRule):
    """A bound on the cosine between two offsets: at least `margin`. In a row that holds `subject` and `to`, from the mean of the
    spans of the one to that of the other; and from `anchor` to `anchor_to`."""

    kind: Literal["like"] = "like"
    to: SpanSetRef
    anchor: str
    anchor_to: str
    margin: float


class LiveTerm(Frozen):
    """`live.loss`: the loss of a token in the model that trains, without a gradient."""

    live: Literal["loss"]


class MeasureTerm(Frozen):
    """A column of the file measures/`file`.arrow: a number per token, or their mean for a record."""

    file: str
    column: str


class LengthTerm(Frozen):
    """The number of tokens of a row."""

    length: Literal["tokens"]


class FieldTerm(Frozen):
    """Column `field.NAME`, a number of the record."""

    field: str


TokenScore = tuple[float | Literal["+", "-", "*", "/"] | LiveTerm | MeasureTerm, ...]
"""A number per token in postfix order: `a - b` is `[a, b, "-"]`."""

RecordScore = tuple[float | Literal["+", "-", "*", "/"] | LengthTerm | FieldTerm | MeasureTerm, ...]
"""A number per record in postfix order."""


class WeighPlan(RuleBase):
    """Multiplies the loss of the predicted token by `factor`, by column `field`, or by `score` where that is above 0; `only`
    gives 0 to all others."""

    kind: Literal["weigh"] = "weigh"
    subject: SpanSetRef
    factor: float | None
    field: str | None
    only: bool
    score: TokenScore | None = None


class KeepPlan(RuleBase):
    """A factor 0 or 1 after all `weigh`: of the tokens of `subject` with a positive weight, the `share` with the highest or the
    lowest `score` is kept, per record or batch."""

    kind: Literal["keep"] = "keep"
    subject: SpanSetRef
    score: TokenScore
    end: Literal["top", "bottom"]
    share: float
    per: Literal["record", "batch"]


SignalPlan = TowardPlan | ClassifyPlan | ContrastPlan | PredictPlan | DistilPlan
RulePlan = Annotated[
    AttendPlan | SignalPlan | RelatePlan | LikePlan | WeighPlan | KeepPlan, Field(discriminator="kind")
]


def deepest(rule: RuleBase) -> int:
    """The last block that has to run for what a rule reads at numbered layers: 0 where it reads none."""
    layers = rule.layers if isinstance(rule, AttendPlan | HiddenRule) else ()
    return max((layer for layer in layers if layer != "final"), default=0)


class RampPlan(Frozen):
    """A multiplier from `start` to `end` over a stage."""

    start: float
    end: float
    shape: Literal["linear", "cosine", "exponential"]


class StagePlan(Frozen):
    """A part `[start, end)` of training time. Rules that `factors` leaves out have 1, or 0 where `only` leaves them out.

    `depth`: how many blocks run, None for all. `train`: the layers whose parameters are trained, None for all.
    """

    name: str
    start: float
    end: float
    factors: dict[str, RampPlan]
    only: tuple[str, ...] | None
    token_loss: RampPlan
    depth: int | None = None
    train: tuple[Layer, ...] | None = None


class GradientPlan(Frozen):
    """What becomes of gradients. `scale`: pairs of a layer and the factor of its parameters' gradients; `final` is the final norm
    and the head. `stop`: layers through which nothing flows down from what is computed above. `conflicts`: what happens to the
    rules' gradient where it points against that of the token loss."""

    scale: tuple[tuple[Layer, float], ...] = ()
    stop: tuple[int, ...] = ()
    conflicts: Literal["sum", "project"] = "sum"


class ClaimPlan(Frozen):
    """What the spec expects of a trained model: `metric` of `rule` (None: of all tokens) in the split `of`, compared by `op`
    with `bound`. With `over`, how much better the metric is than in the run of that name."""

    metric: Literal["mass", "satisfied", "accuracy", "cosine", "loss"]
    rule: str | None
    of: str
    over: str | None = None
    op: Literal[">=", ">", "<=", "<", "==", "!="]
    bound: float
    line: Line

    @property
    def subject(self) -> str:
        """What is compared, in words: `gain(mass(lookup), over: off) of valid`."""
        metric = self.metric if self.rule is None else f"{self.metric}({self.rule})"
        return f"{metric if self.over is None else f'gain({metric}, over: {self.over})'} of {self.of}"


class Plan(Frozen):
    """The whole of `program.json`.

    `anchors`: concepts that rules are pulled toward, with their anchors in words; `learned`: those of them that are trained
    along, and so have no vector in anchors.safetensors; `centroids`: those of them that are means over spans.
    `teachers`: the models beside the one that is trained, as far as anything reads them. `mix`: shares of the tokens of an
    epoch by source; empty where every row comes once. `order`: what the rows of an epoch come in the ascending order of.
    `claims`: what is expected after training.
    """

    format: int = PLAN_FORMAT
    version: str
    edition: int
    spec: str
    model: Contract
    tokenizer: Tokenizer
    columns: tuple[str, ...]
    sets: dict[Digest, SetInfo]
    anchors: dict[str, str]
    learned: tuple[str, ...] = ()
    centroids: dict[str, CentroidPlan] = Field(default_factory=dict)
    teachers: dict[str, TeacherPlan] = Field(default_factory=dict)
    rules: tuple[RulePlan, ...]
    stages: tuple[StagePlan, ...]
    gradient: GradientPlan | None = None
    mix: dict[str, float] = {}
    order: RecordScore | None = None
    claims: tuple[ClaimPlan, ...] = ()
