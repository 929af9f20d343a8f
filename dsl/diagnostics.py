"""Diagnostics as declared objects.

A `Code` is declared once, in `codes.py`. A checker constructs a `Diagnostic` from it; only `render.py` turns one into
text or JSON. Whatever cannot go on raises `Failure` with all it found.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from .source import DataPlace, Place

_BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})


class Applicability(StrEnum):
    """How sure a fix is: `certain` says what the author meant, and `--fix` makes it; `maybe` is offered alone."""

    CERTAIN = "certain"
    MAYBE = "maybe"


@dataclass(frozen=True, slots=True)
class Edit:
    """What stands at `place` becomes `text`; an empty place inserts, an empty text deletes."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """A change that would end a finding. `title` says it as a command; `edits` lie apart, and all are made or none."""

    title: str
    edits: tuple[Edit, ...]
    applicability: Applicability = Applicability.CERTAIN


class Severity(StrEnum):
    """How a finding counts: an error stops what was asked for, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of finding. `id` is stable and never reused; `name` is its readable twin."""

    id: str
    name: str
    summary: str
    severity: Severity = Severity.ERROR

    def at(
        self,
        place: Place | DataPlace | None,
        message: str,
        *,
        help: str | None = None,
        related: Iterable[Related] = (),
        fixes: Iterable[Fix] = (),
    ) -> Diagnostic:
        """A finding of this kind at `place`. A line break in `message`, from a text of the user's, is written as its escape."""
        offered = help.fixes(place) if isinstance(help, Suggestion) and isinstance(place, Place) else ()
        return Diagnostic(self, message.translate(_BREAKS), place, help, tuple(related), (*fixes, *offered))


@dataclass(frozen=True, slots=True)
class Related:
    """A second place that a finding is about: the other of two duplicates, say."""

    place: Place
    message: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: the fact in one line, where it is, at most one line of help, and what would end it.

    `fixes`: the likeliest first, at most one of them certain. `level` is the severity that a project gives it instead of the
    code's own.
    """

    code: Code
    message: str
    place: Place | DataPlace | None = None
    help: str | None = None
    related: tuple[Related, ...] = ()
    fixes: tuple[Fix, ...] = ()
    level: Severity | None = None

    @property
    def severity(self) -> Severity:
        return self.level or self.code.severity

    @property
    def certain(self) -> Fix | None:
        """The fix that `--fix` applies."""
        return next((fix for fix in self.fixes if fix.applicability is Applicability.CERTAIN), None)


class Failure(Exception):
    """What was asked for cannot be done; `diagnostics` says why, and is never empty."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("; ".join(f"{d.code.id} {d.message}" for d in diagnostics))
        self.diagnostics = diagnostics

    def __reduce__(self) -> tuple[type[Failure], tuple[Diagnostic, ...]]:
        """As it crosses from one process to another."""
        return type(self), self.diagnostics


@dataclass(slots=True)
class Findings:
    """Collects diagnostics while a phase goes on to find the rest."""

    items: list[Diagnostic] = field(default_factory=list)

    def add(self, diagnostic: Diagnostic) -> None:
        self.items.append(diagnostic)

    @property
    def failed(self) -> bool:
        return any(item.severity is Severity.ERROR for item in self.items)


def replacing(place: Place, text: str, applicability: Applicability = Applicability.CERTAIN) -> Fix:
    """The fix that puts `text` in place of what is typed at `place`."""
    title = f"replace `{place.text}` with `{text}`" if place.text else f"insert `{text}`"
    return Fix(title if text else f"remove `{place.text}`", (Edit(place, text),), applicability)


class Suggestion(str):
    """A help line that suggests other names for `name`, so that a finding where that was typed can offer to put them there."""

    name: str
    candidates: tuple[str, ...]

    def __new__(cls, name: str, candidates: Sequence[str]) -> Suggestion:
        self = super().__new__(cls, "did you mean " + " or ".join(f"`{n}`" for n in candidates) + "?")
        self.name, self.candidates = name, tuple(candidates)
        return self

    def fixes(self, place: Place) -> tuple[Fix, ...]:
        """A name for what is typed at `place`, where that is the name: bare, as a constant, or in quotes."""
        for form in ("{}", "${}", '"{}"'):
            if place.text == form.format(self.name):
                return tuple(replacing(place, form.format(near), Applicability.MAYBE) for near in self.candidates)
        return ()


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A help line with at most four near names, or None where nothing is near."""
    near = difflib.get_close_matches(name, sorted(set(known)), n=4, cutoff=0.6)
    return Suggestion(name, near) if near else None
