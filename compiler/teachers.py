"""Teachers in the plan: what the runtime has to know of another model, and what is read of it."""

from __future__ import annotations

from pathlib import Path

from ..dsl import checked as c
from .manifest import file_digest
from .plan import HiddenOf, TeacherPlan


def teacher_plan(teacher: c.Teacher, root: Path) -> TeacherPlan:
    """A teacher as the plan has it: its paths from the root, its tokenizer by digest."""
    return TeacherPlan(
        architecture=teacher.architecture,
        layers=teacher.layers,
        heads=teacher.heads,
        hidden=teacher.hidden,
        vocab=teacher.vocab,
        causal=teacher.causal,
        positions=teacher.positions,
        weights=_below(teacher.weights, root),
        config=_below(teacher.config, root),
        tokenizer=None if teacher.same_tokenizer else file_digest(teacher.tokenizer)[0][:32],
        run=teacher.run,
    )


def hidden_of(rule: c.Toward) -> HiddenOf | None:
    """The teacher's state that a rule is pulled toward, if it is one."""
    if not isinstance(rule.target, c.Hidden):
        return None
    cached = rule.target.teacher.run == "cached"
    return HiddenOf(teacher=rule.target.teacher.name, layer=rule.target.layer, dtype=rule.dtype if cached else None)


def _below(path: Path | None, root: Path) -> str | None:
    return None if path is None else path.relative_to(root).as_posix()
