"""What is shown where the cursor rests: what a name stands for once the model is known, what a word means, what was counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ...compiler.describe import describe_layers, describe_rule
from ...compiler.lower import lower
from ...compiler.plan import Plan, Tokenizer
from ...compiler.written import written, written_anchor
from ...dsl import ast
from ...dsl import checked as c
from ...dsl.canonical import digest
from ...dsl.check.declare import RULES, rule_id
from ...dsl.check.env import Declaration, State
from ...dsl.check.order import stated_type
from ...dsl.ide.context import Attribute, Value, context
from ...dsl.ide.names import Occurrence
from ...dsl.ide.project import Analysis
from ...dsl.ide.words import KEYWORDS, attribute_doc, function_doc
from ...dsl.lexemes import Lexeme, at, lexemes
from ...dsl.vocabulary import BLOCKS, BUILT_INS, Type
from ...version import VERSION
from .compiled import Compiled, last_compile

NO_TOKENIZER = Tokenizer(digest="0" * 32)
"""A plan in words says nothing about the tokenizer, which need not be read."""


def hover(analysis: Analysis, path: Path, text: str, offset: int) -> tuple[int, int, str] | None:
    """The range that a cursor rests on, and what is said about it, in Markdown."""
    found = lexemes(text)
    touched = at(found, offset)
    if touched is None or touched.kind in ("comment", "string", "number"):
        return None
    name = analysis.names.at(path, offset) if analysis.state is not None else None
    if name is not None:
        return name.start, name.end, "\n\n".join(_name(analysis, name))
    said = _keyword_rule(analysis, path, touched) or _word(text, touched, found)
    return (touched.start, touched.end, said) if said else None


# --- names -----------------------------------------------------------------------------------------------------------


def _name(analysis: Analysis, name: Occurrence) -> Iterator[str]:
    assert analysis.state is not None
    found, state = name.found, analysis.state
    yield f"```mcd\n{_head(found)}\n```"
    if (doc := getattr(found.item, "doc", None)) is not None:
        yield doc
    yield from _meaning(analysis, state, found)


def _head(found: Declaration) -> str:
    """A declaration up to its block, on one line."""
    item = found.item
    end = item.block.place.start if hasattr(item, "block") and item.block is not None else item.place.end
    if isinstance(item, ast.Frame):
        end = item.items[0].place.start if item.items else item.place.end
        return " ".join(item.place.source.text[item.place.start : end].split()).partition("{")[0].rstrip()
    line = " ".join(item.place.source.text[item.place.start : end].split())
    return line if len(line) <= 200 else f"{line[:197]}..."


def _meaning(analysis: Analysis, state: State, found: Declaration) -> Iterator[str]:
    match found.item:
        case ast.Let() | ast.Parameter():
            yield from _constant(state, found)
        case ast.SpanDecl():
            if (spans := state.spans.get(found)) is not None:
                yield f"The set `{written(spans.base)}`"
                yield from _counts(analysis, spans)
        case ast.Concept():
            if (concept := state.concepts.get(found)) is not None:
                yield from _concept(analysis, concept)
        case ast.Model():
            if (contract := state.contract) is not None:
                kind = contract.architecture or "given by numbers"
                direction = "causal" if contract.causal else "bidirectional"
                sizes = f"{contract.layers} layers x {contract.heads} heads, width {contract.hidden}"
                yield f"{kind}: {sizes}, vocabulary {contract.vocab:,}, {direction}"
        case ast.Source():
            if (source := state.sources.get(found.ident.name)) is not None:
                amount = source.amount
                yield f"{source.format}: {amount}"
        case ast.Import():
            if (file := state.opened.get(found)) is not None:
                yield f"`{file.source.path}`"
        case item if isinstance(item, RULES):
            yield from _rule(analysis, rule_id(found.file, item))


def _constant(state: State, found: Declaration) -> Iterator[str]:
    kind = stated_type(found)
    value = state.value(found)
    name = kind.name.lower() if kind is not None else "any type"
    shown = " ".join(value.expr.place.text.split()) if value is not None else "no value"
    known = state.known.get((found, kind)) if kind is not None else None
    if isinstance(known, c.Layers) and known.resolved:
        yield f"{name}: `{shown}`, layers {describe_layers(known.resolved)} of `{state.model_name}`"
    elif kind is Type.SPAN and known is not None:
        yield f"{name}: `{written(known)}`"
    else:
        yield f"{name}: `{shown}`"


def _concept(analysis: Analysis, concept: c.Concept) -> Iterator[str]:
    if concept.spans is not None:
        spans = concept.spans.base if isinstance(concept.spans, c.Named) else concept.spans
        yield f"Expressed by `{written(spans)}`"
    match concept.anchor:
        case c.Orthonormal():
            yield "Anchor: a unit vector orthogonal to the other orthonormal anchors"
        case c.LearnedAnchor():
            yield "Anchor: a unit vector that is trained along"
        case c.VectorAnchor(file, key):
            yield f"Anchor: the tensor `{key}` of `{file.name}`"
        case c.EmbeddingAnchor(text):
            yield f"Anchor: the mean input embedding of `{text}`"
        case None:
            yield "No anchor"
        case anchor:
            yield f"Anchor: `{written_anchor(anchor)}`"
    if concept.spans is not None:
        yield from _counts(analysis, concept.spans)


def _counts(analysis: Analysis, spans: c.SpanSet) -> Iterator[str]:
    compiled = _compiled(analysis)
    if compiled is not None and (said := compiled.set(digest(spans))) is not None:
        yield said


def _compiled(analysis: Analysis) -> Compiled | None:
    assert analysis.state is not None
    loaded = analysis.state.loaded
    return last_compile(loaded.root, loaded.files[0].source.path)


# --- rules -----------------------------------------------------------------------------------------------------------


def _rule(analysis: Analysis, id: str) -> Iterator[str]:
    """A rule as `mcd plan` has it, and what it came to when it was compiled last."""
    plan = _plan(analysis)
    rule = next((rule for rule in plan.rules if rule.id == id), None) if plan is not None else None
    if plan is not None and rule is not None:
        _, _, where, layers, formula = describe_rule(rule, plan)
        yield f"`{where}`"
        yield f"{layers}: `{formula}`"
    compiled = _compiled(analysis)
    if compiled is not None and (said := compiled.rule(id)) is not None:
        yield said


def _plan(analysis: Analysis) -> Plan | None:
    """The plan of what is right in the spec."""
    draft = analysis.checked.draft
    with suppress(LookupError, ValueError, TypeError, AttributeError):
        return lower(draft, NO_TOKENIZER, VERSION).plan if draft is not None else None
    return None


def _keyword_rule(analysis: Analysis, path: Path, touched: Lexeme) -> str | None:
    """The rule whose keyword the cursor rests on."""
    file = analysis.file(path)
    for item in file.spec.items if file is not None else ():
        if isinstance(item, RULES) and item.place.start == touched.start:
            assert file is not None
            said = [f"**{touched.text}** {KEYWORDS[touched.text]}", *filter(None, [item.doc])]
            return "\n\n".join([*said, *_rule(analysis, rule_id(file, item))])
    return None


# --- words -----------------------------------------------------------------------------------------------------------


def _word(text: str, touched: Lexeme, around: list[Lexeme]) -> str | None:
    """What a word of the language means where it stands."""
    after = next((lexeme.text for lexeme in around if lexeme.start >= touched.end), "")
    if touched.kind != "word":
        return None
    if after == "=":
        slot = context(text, touched.start).slot
        kind = slot.kind if isinstance(slot, Attribute | Value) else ""
        if kind in BLOCKS and (said := attribute_doc(kind, touched.text)) is not None:
            return f"**{touched.text}** of `{kind}`: {said}"
    if after == "(" and (said := function_doc(touched.text)) is not None:
        return f"**{touched.text}**: {said}"
    if touched.text in KEYWORDS:
        return f"**{touched.text}**: {KEYWORDS[touched.text]}"
    if touched.text in BUILT_INS:
        return f"**{touched.text}**: a built-in attribute of spans"
    said = function_doc(touched.text)
    return f"**{touched.text}**: {said}" if said is not None else None
