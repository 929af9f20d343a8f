"""Small projects on disk: a tokenizer of one token per word, a spec, and its data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

from mcd.compiler.compile import Compiled, compile_program
from mcd.dsl.check import check
from mcd.dsl.checked import Program

WORDS = "the cat dog saw a red bird and it ran off because of rain . , k1 k2 v1 v2 [UNK]".split()  # noqa: SIM905
MODEL = """model m {
  layers = 4  heads = 2  hidden = 8  vocab = 64  causal = true
  tokenizer = "tokenizer.json"  context = 16
}
"""


def write_tokenizer(path: Path, begin: str | None = None) -> None:
    """One token per word and per mark, white space dropped. `begin`: a token that it puts before every text."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), "removed")
    if begin is not None:
        tokenizer.add_special_tokens([begin])
        known = [(begin, tokenizer.token_to_id(begin))]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=known)
    tokenizer.save(str(path))


def project(folder: Path, spec: str, records: list[dict] | None = None, **files: str) -> Path:
    """A project whose spec is `mcd 1`, MODEL and `spec`; `records` go to data.jsonl. Gives the path of the spec."""
    (folder / "mcd.toml").touch()
    write_tokenizer(folder / "tokenizer.json")
    if records is not None:
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / "data.jsonl").write_text(lines, encoding="utf-8")
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    path = folder / "spec.mcd"
    path.write_text(f"mcd 1\n{MODEL}{spec}", encoding="utf-8")
    return path


def checked(path: Path) -> Program:
    """The program of a spec that must be clean."""
    program, findings = check(path)
    assert program is not None, [f"{item.code.id} {item.message}" for item in findings.items]
    return program


def compiled(path: Path, out: Path) -> Compiled:
    """The dataset of a spec that must be clean."""
    return compile_program(checked(path), out)


def content(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
