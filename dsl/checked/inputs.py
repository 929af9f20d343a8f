"""The model contract, and the sources of text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from ..source import Place
from ..windows import Windows
from .common import FieldPath, Lost, no_meaning


@dataclass(frozen=True, slots=True)
class Overflow:
    """What happens to a text longer than the context. `stride` counts repeated tokens, for `split` alone."""

    how: Literal["truncate", "split", "drop", "error"] = "truncate"
    stride: int = 0


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """How messages become a text.

    `templates`: Jinja by name, `default` first, `tool_use` for records with tools where there is one; `tokens`: the special
    tokens that they read, by name (`bos_token`); `fields`: the other variables that they read, which are fields of the record.
    `path`: the file of the templates, as a person is shown it.
    """

    templates: tuple[tuple[str, str], ...]
    tokens: tuple[tuple[str, str], ...] = ()
    fields: tuple[str, ...] = ()
    path: str = field(default="", compare=False)
    place: Place | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Model:
    """The contract: what layers, heads and widths are checked against, and what tokenises the text.

    `layers` is L, `heads` the query heads per layer, `hidden` the width of the residual stream. `windows`: those of the layers
    that are shorter than the context.
    """

    name: str
    architecture: str | None
    layers: int
    heads: int
    hidden: int
    vocab: int
    causal: bool
    tokenizer: Path
    context: int
    overflow: Overflow
    weights: Path | None
    lost: Lost
    place: Place = no_meaning()
    chat: ChatTemplate | None = None
    windows: Windows = ()


@dataclass(frozen=True, slots=True)
class Teacher:
    """Another model. Numbers as in `Model`; `positions`: the longest text that it reads, None without such a limit.

    `config` is its config.json and `weights` the folder of its safetensors; both are None for the model itself before training.
    `same_tokenizer`: it reads the very tokens of the model, and not a text cut into tokens of its own.
    """

    name: str
    architecture: str | None
    layers: int
    heads: int
    hidden: int
    vocab: int
    causal: bool
    positions: int | None
    config: Path | None
    weights: Path | None
    tokenizer: Path
    same_tokenizer: bool
    run: Literal["cached", "online"]
    place: Place = no_meaning()


@dataclass(frozen=True, slots=True)
class HashSplit:
    """`hash(train: 90%, valid: 10%)`: by a digest of the record's id. Shares add up to 1."""

    shares: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class FieldSplit:
    """The split that a field of the record names."""

    path: FieldPath


@dataclass(frozen=True, slots=True)
class ConstantSplit:
    """Every record in one split."""

    name: str


Split: TypeAlias = HashSplit | FieldSplit | ConstantSplit


@dataclass(frozen=True, slots=True)
class Template:
    """The rendered text, as literal pieces (`str`) and slots (`FieldPath`) in order."""

    parts: tuple[str | FieldPath, ...]

    @property
    def slots(self) -> tuple[FieldPath, ...]:
        """The fields that stand in it, in order."""
        return tuple(part for part in self.parts if isinstance(part, tuple))


@dataclass(frozen=True, slots=True)
class Chat:
    """The rendered text, as the messages that a field lists, through the model's chat template."""

    path: FieldPath
    template: ChatTemplate

    @property
    def slots(self) -> tuple[FieldPath, ...]:
        """The one field that stands in it."""
        return (self.path,)


@dataclass(frozen=True, slots=True)
class Remote:
    """A folder of the project whose files may lie below a URL instead. `options`: how the URL is read, no secret among them."""

    folder: Path
    url: str
    options: tuple[tuple[str, str | float], ...] = ()


@dataclass(frozen=True, slots=True)
class RemotePattern:
    """A pattern of a source that starts below a remote folder: as it is written, and its parts below the folder. `here`: files of
    the project match it as well."""

    written: str
    remote: Remote
    parts: tuple[str, ...]
    here: bool
    place: Place = no_meaning()


@dataclass(frozen=True, slots=True)
class Source:
    """Where records come from. `files` are resolved, sorted and below the root; `records` holds inline ones as JSON text.

    `marked`: the slots of the template, sorted, whose values are marked up and stand in the text without their marks.
    `patterns`: those below remote folders, as long as nothing but the project itself was looked at. `remotes`: the folders whose
    files were looked up at their URLs; `files` names them by where they stand in the project.
    """

    name: str
    format: Literal["jsonl", "parquet", "csv", "arrow", "conllu", "inline"]
    files: tuple[Path, ...]
    records: tuple[str, ...]
    id: FieldPath | None
    split: Split
    text: Template | Chat
    place: Place = no_meaning()
    marked: tuple[FieldPath, ...] = ()
    patterns: tuple[RemotePattern, ...] = field(default=(), compare=False)
    remotes: tuple[Remote, ...] = field(default=(), compare=False)

    @property
    def amount(self) -> str:
        """How much it holds, as far as that is known, in words."""
        elsewhere = [pattern.remote.url for pattern in self.patterns if not pattern.here]
        if elsewhere:
            return f"files below {', '.join(dict.fromkeys(elsewhere))}"
        return f"{len(self.records)} records" if self.format == "inline" else f"{len(self.files)} files"

    def remote(self, file: Path) -> Remote | None:
        """The folder by whose URL one of `files` is read; None for one that lies in the project."""
        return next((remote for remote in self.remotes if file.is_relative_to(remote.folder)), None)
