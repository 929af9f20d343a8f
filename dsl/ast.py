"""The syntax tree: one frozen class per construct of the grammar, each with its place.

Places do not take part in comparison, so that two trees are equal exactly when they say the same. Nothing here knows what
a name means; that is `checked.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from .source import Place


def _place() -> Place:
    return field(compare=False, repr=False)  # type: ignore[no-any-return]


# --- expressions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """`4` or `0.5`."""

    value: int | float
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Percent:
    """`50%`: `value` is 50."""

    value: int | float
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class String:
    """`"..."` with its escapes resolved, or `r"..."` as it stands."""

    value: str
    raw: bool
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Field:
    """`.name` standing alone: a field of the record."""

    name: str
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Name:
    """A bare name."""

    name: str
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Param:
    """`$name`: a constant or a frame's parameter."""

    name: str
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class List:
    """`[a, b]`."""

    items: tuple[Expr, ...]
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Map:
    """`{key: value, ...}`."""

    entries: tuple[tuple[Expr, Expr], ...]
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Member:
    """`base.name`."""

    base: Expr
    name: str
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call; `label` is None where it is positional."""

    label: str | None
    value: Expr
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Call:
    """`callee(arguments)`."""

    callee: Expr
    arguments: tuple[Argument, ...]
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Unary:
    """`not x` or `-x`; `op` is `"not"` or `"-"`."""

    op: str
    operand: Expr
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Binary:
    """`left op right`; `op` as typed: `or and == != < > <= >= before after | & in .. + - * /`."""

    op: str
    left: Expr
    right: Expr
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Where:
    """`base where condition`."""

    base: Expr
    condition: Expr
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Paren:
    """`(inner)`: kept, since the algebra and the formatter both ask for it."""

    inner: Expr
    place: Place = _place()


Expr: TypeAlias = (
    Number | Percent | String | Field | Name | Param | List | Map | Member | Call | Unary | Binary | Where | Paren
)


# --- blocks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attribute:
    """`name = value`, or `name.part = value` in a stage; `path` is `("name", "part")`."""

    path: tuple[str, ...]
    value: Expr
    name_place: Place = _place()
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Block:
    """`{ attributes }`."""

    attributes: tuple[Attribute, ...]
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Ident:
    """A name in a declaring or referring position, with its own place."""

    name: str
    place: Place = _place()


# --- declarations ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Import:
    """`import "path" as alias`."""

    path: String
    alias: Ident
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Let:
    """`let name: type = value`."""

    name: Ident
    type: Ident | None
    value: Expr
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Model:
    """`model name { ... }`."""

    name: Ident
    block: Block
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Teacher:
    """`teacher name { ... }`."""

    name: Ident
    block: Block
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Source:
    """`source name = value { ... }`; the block may be left out."""

    name: Ident
    value: Expr
    block: Block | None
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class SpanDecl:
    """`span name of source = value`."""

    name: Ident
    of: Ident | None
    value: Expr
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Concept:
    """`concept name { ... }`."""

    name: Ident
    block: Block
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Relate:
    """`relate label: subject relation object { ... }`, or `relate a -> b like c -> d { ... }` with all four ends.

    For `like`, `subject -> subject_to like object -> object_to`; for the others the `_to` ends are None.
    """

    label: Ident | None
    subject: Expr
    relation: Ident
    object: Expr
    subject_to: Expr | None
    object_to: Expr | None
    block: Block
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Attend:
    """`attend label: query -> key where condition { ... }`."""

    label: Ident | None
    query: Expr
    key: Expr
    where: Expr | None
    block: Block
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class _OnSubject:
    """What rules of one subject have."""

    label: Ident | None
    subject: Expr
    block: Block
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Signal(_OnSubject):
    """`signal label: subject { ... }`."""


@dataclass(frozen=True, slots=True)
class Weigh(_OnSubject):
    """`weigh label: subject { ... }`."""


@dataclass(frozen=True, slots=True)
class Keep(_OnSubject):
    """`keep label: subject { ... }`."""


@dataclass(frozen=True, slots=True)
class Gradient:
    """`gradient { ... }`."""

    block: Block
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Stage:
    """`stage name 20% { ... }`."""

    name: Ident
    share: Percent
    block: Block
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Curriculum:
    """`curriculum { attributes and stages }`, each kept in its order."""

    attributes: tuple[Attribute, ...]
    stages: tuple[Stage, ...]
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Parameter:
    """`name: type = default` of a frame."""

    name: Ident
    type: Ident
    default: Expr | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Frame:
    """`frame name(parameters) { declarations }`."""

    name: Ident
    parameters: tuple[Parameter, ...]
    items: tuple[Item, ...]
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Use:
    """`use frame(arguments) as alias`; `target` is the call, or a bare name where there are no arguments."""

    target: Expr
    alias: Ident
    doc: str | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Expect:
    """`expect claim` or `expect trained claim`."""

    trained: bool
    claim: Expr
    doc: str | None
    place: Place = _place()


Rule: TypeAlias = Relate | Attend | Signal | Weigh | Keep
Item: TypeAlias = (
    Import | Let | Model | Teacher | Source | SpanDecl | Concept | Rule | Gradient | Curriculum | Frame | Use | Expect
)


@dataclass(frozen=True, slots=True)
class Spec:
    """One file: its edition and its declarations, in the order they were written."""

    edition: int
    items: tuple[Item, ...]
    place: Place = _place()
