"""A chat template and one record's messages -> the text, and where each message's content stands in it.

The pieces of the text that came from one content make a *run*, as long as they follow each other in the content and nothing of
another message stands between them: what the template put between them belongs to the run. A content that the template gives
twice has two runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...dsl import checked
from ...dsl.chat.parse import parse_template
from ...dsl.chat.read import DEFAULT, TOOL_USE
from .statements import Statement, body
from .traced import CHANGED, Piece, content, joined, pieces_of
from .values import Exhausted, Frame, Refused, Run, Stopped

_FAILURES = (TypeError, ValueError, ArithmeticError, LookupError)
"""What Python raises where a template gives a filter or a method what it does not take."""
REASONING = ("reasoning_content", "thinking", "reasoning")
"""Keys of a message under which data has the reasoning before an answer. It is given under the first two, as by transformers."""

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text, and its runs in order: each the pieces of one message, at least one."""

    text: str
    runs: tuple[tuple[Piece, ...], ...]


class Renderer:
    """The templates of a model, made ready once."""

    def __init__(self, template: checked.ChatTemplate) -> None:
        self._bodies: dict[str, Statement] = {
            name: body(parse_template(text).body) for name, text in template.templates
        }
        self._tokens = dict(template.tokens)

    def render(self, messages: Sequence[Message], fields: Mapping[str, Any]) -> Rendered:
        """The text of a record. `messages`: objects with a role; `fields`: what the template may read besides.

        Raises Refused where the template refuses the record or fails on it, Exhausted and Dated where it does what it may not;
        each says the line of the template.
        """
        given = {**self._tokens, "tools": None, "documents": None, "add_generation_prompt": False, **fields}
        given["messages"] = [_seen(message, number) for number, message in enumerate(messages)]
        name = TOOL_USE if given["tools"] is not None and TOOL_USE in self._bodies else DEFAULT
        run = Run()
        out: list[str] = []
        try:
            self._bodies[name](Frame(given, None, out, run))
            run.pay(sum(map(len, out)))
        except Stopped as stopped:
            raise type(stopped)(_at(stopped.fact, run)) from None
        except RecursionError:
            raise Exhausted(_at("it calls itself too deep", run)) from None
        except _FAILURES as error:
            raise Refused(_at(str(error) or type(error).__name__, run)) from None
        text = joined(out)
        return Rendered(str(text), tuple(_runs(pieces_of(text))))


def _at(fact: str, run: Run) -> str:
    return f"{fact} (line {run.line} of the template)"


def _seen(message: Message, number: int) -> dict[str, Any]:
    """A message as the template sees it: without its nulls, its reasoning under the names of today, its content traced."""
    seen = {key: value for key, value in message.items() if value is not None}
    reasoning = next((seen[key] for key in REASONING if key in seen), None)
    if reasoning is not None:
        seen = {"thinking": reasoning, **seen, "reasoning_content": reasoning}
    found = seen.get("content")
    if isinstance(found, str):
        seen["content"] = content(found, number)
    elif isinstance(found, list):
        seen["content"] = list(_parts(found, number))
    return seen


def _parts(parts: Sequence[Any], number: int) -> Iterator[Any]:
    """The parts of a content, their texts traced as one after another."""
    at = 0
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            yield {**part, "text": content(text, number, at)}
            at += len(text)
        else:
            yield part


def content_text(message: Message) -> str:
    """The text of a content: of parts, their texts one after another."""
    found = message.get("content")
    if isinstance(found, str):
        return found
    if isinstance(found, list):
        texts = (part.get("text") for part in found if isinstance(part, dict))
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def _runs(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, ...]]:
    run: list[Piece] = []
    reached = 0
    for piece in pieces:
        if run and (piece.message != run[-1].message or (piece.offset != CHANGED and piece.offset < reached)):
            yield tuple(run)
            run, reached = [], 0
        whole = run and piece.offset != CHANGED and run[-1].offset != CHANGED
        if whole and piece.start == run[-1].end and piece.offset == reached:
            run[-1] = run[-1]._replace(end=piece.end)
        else:
            run.append(piece)
        if piece.offset != CHANGED:
            reached = piece.offset + piece.end - piece.start
    if run:
        yield tuple(run)
