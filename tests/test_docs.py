"""The documentation runs: its specs check, its Python executes, its links lead somewhere, and it names every word there is.

docs/README.md tells how a block says what should become of it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from mcd.compiler.manifest import MANIFEST_FILE, PLAN_FILE
from mcd.docs.generate import HERE, linked
from mcd.dsl import vocabulary
from mcd.dsl.check import check
from mcd.dsl.codes import CODES
from mcd.dsl.cut import INNER, KEYWORDS, OPERATORS
from mcd.dsl.words import FUNCTIONS
from mcd.runtime.losses import ATTENTION, RELATE, TOWARD

from .pages import FENCE, ROOT, Block, blocks, expect, shown, walk
from .projects import compiled, project, write_tokenizer

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks(page)]
CODE_PAGES = {*(ROOT / "docs/diagnostics").glob("*.md"), ROOT / "docs/diagnostics.md"}
"""What is generated from the pages of the codes, whose examples tests/test_explained.py runs."""
SPECS = [block for block in BLOCKS if block.words[0] == "mcd" and not block.file and block.page not in CODE_PAGES]
WALKED = [page for page in PAGES if any(block.words == ("sh", "run") for block in blocks(page))]
RUN = [page for page in PAGES if any(block.words == ("python", "run") for block in blocks(page))]

# --- specs

PREAMBLE = """model gpt {
  layers = 12  heads = 12  hidden = 768  vocab = 50257  causal = true
  tokenizer = "tokenizer.json"  context = 512
}
source stories = jsonl("data/stories-1.jsonl") {
  id = .id  split = hash(train: 90%, valid: 10%)  text = "{.premise} Question: {.question} Answer: {.answer}"
}
span answer = slot(.answer)
span mention = offsets(.mentions, of: .premise)
span pronoun = mention where kind == "pronoun"
span noun = mention where kind != "pronoun"
concept causality { spans = phrases("because", "since")  anchor = orthonormal }
"""
"""What a fragment may use. What it declares itself, a model under any name, is left out."""

LOGIC = """mcd 1
concept cause { spans = phrases("because")  anchor = orthonormal }
concept effect { spans = phrases("therefore")  anchor = orthonormal }
frame cue(words: span, depth: layers = 50%) {
  span following = $words.next
  attend back: following -> $words { layers = $depth  heads = any }
}
"""
CONFIG = {"model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "vocab_size": 50257, "n_positions": 1024}
DECLARED = re.compile(r"^(model|\w+ \w+)", re.MULTILINE)
STUBS = {
    ".jsonl": "{}\n",
    ".csv": "text\n",
    ".txt": "because\n",
    ".conllu": "",
    ".mcd": LOGIC,
    # a config, a file of heads, and a config of a tokenizer
    ".json": json.dumps(CONFIG | {"heads": [[2, 0], [7, 11]], "chat_template": "{{ messages[0].content }}"}),
}
WEIGHTS = re.compile(r'weights = "([\w/]+)"')
PATH = re.compile(r'"([\w./*-]+)"')


def whole(block: Block) -> str:
    """The spec of a block: with a header and what it needs of the preamble, where it is a fragment."""
    if block.text.startswith("mcd "):
        return block.text
    own = {declaration(item) for item in DECLARED.findall(block.text)}
    items = re.split(r"^(?=\w)", PREAMBLE, flags=re.MULTILINE)
    needed = [item for item in items if item and declaration(item) not in own]
    return "mcd 1\n" + "".join(needed) + block.text


def declaration(item: str) -> str:
    """What an item declares: its name, or `model`, of which there is one."""
    return "model" if item.startswith("model") else item.split()[1]


def stub(folder: Path, text: str) -> None:
    """A file for every path that a spec names, of the kind that its ending tells; for weights without one a folder."""
    for path in WEIGHTS.findall(text):
        (folder / path).mkdir(parents=True)
        (folder / path / "model.safetensors").touch()
        (folder / path / "config.json").write_text(json.dumps(CONFIG | {"n_layer": 24, "n_embd": 1024}))
    for path in PATH.findall(text):
        file = folder / path.replace("*", "1")
        if file.suffix in STUBS:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(STUBS[file.suffix], encoding="utf-8")
        elif file.suffix == ".safetensors":
            save_file({"cause": np.ones(768, np.float32), "effect": np.ones(768, np.float32)}, file)


@pytest.mark.parametrize("block", SPECS, ids=str)
def test_a_spec_gives_what_its_block_says(block, tmp_path):
    (tmp_path / "mcd.toml").touch()
    spec = tmp_path / "spec.mcd"
    spec.write_text(whole(block), encoding="utf-8")
    stub(tmp_path, spec.read_text(encoding="utf-8"))
    for file in tmp_path.rglob("tokenizer.json"):
        write_tokenizer(file, begin="<s>")
    findings = [f"{found.code.id} {found.message}" for found in check(spec)[1].items]
    match block.words[1:]:
        case () | ("fragment",):
            assert findings == []
            assert block.text.startswith("mcd ") or block.words[1:], "a whole spec starts with its edition"
        case ("wrong", code):
            assert {found.split()[0] for found in findings} == {code}, findings
        case words:
            pytest.fail(f"unknown words after ```mcd: {words}")


# --- Python

SPEC = """source s = jsonl("data.jsonl") { id = .id  split = .split  text = .text }
span cat = phrases("cat")
span dog = phrases("dog")
concept axis { spans = cat  anchor = orthonormal }
attend link: dog -> cat where key before query { pick = nearest  layers = 2  heads = any }
signal near: cat { layers = 2  classify = .label  classes = 2 }
signal axis_of: cat { layers = 3  toward = axis.anchor }
weigh loud: cat { factor = 3 }
curriculum { stage first 50% {} stage second 50% { near.factor = 0 } }
"""
RECORDS = [
    {
        "id": str(number),
        "split": "valid" if number % 4 == 3 else "train",
        "text": ["the cat saw a red dog .", "a bird and the cat saw a dog", "a dog ran off"][number % 3],
        "label": number % 2,
    }
    for number in range(40)
]
SMALL = {"model_type": "gpt2", "n_layer": 4, "n_head": 2, "n_embd": 8, "vocab_size": 64, "n_positions": 16}
SMALL |= {"bos_token_id": None, "eos_token_id": None}


@pytest.mark.parametrize("page", RUN, ids=shown)
def test_python_runs(page, tmp_path, monkeypatch, capsys):
    spec = project(tmp_path, SPEC, RECORDS)
    (tmp_path / "config.json").write_text(json.dumps(SMALL), encoding="utf-8")
    compiled(spec, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.words == ("python", "run"):
            exec(compile("\n" * (block.line - 1) + block.text, shown(page), "exec"), namespace)


def test_the_page_of_the_format_tells_what_is_written(tmp_path):
    """Every file and every column of a dataset, and every field of its manifest, is named."""
    spec = project(tmp_path, SPEC, RECORDS)
    out = compiled(spec, tmp_path / "out")
    told = (ROOT / "docs/format.md").read_text(encoding="utf-8")
    files = [MANIFEST_FILE, PLAN_FILE, *(entry.path for entry in out.manifest.files)]
    fields = [*type(out.manifest).model_fields, *type(out.plan).model_fields]
    columns = [column for column in out.plan.columns if not column.startswith(("field.", "span.at."))]
    assert [name for name in [*files, *columns, *fields] if f"`{name}`" not in told] == []


# --- pages that are gone through


def test_what_a_page_prints_is_compared():
    block = Block(ROOT / "docs/x.md", ("text",), "one\n...\nstep 20  loss 3.5\n", 1)
    expect(block, "zero\none\ntwo\nstep 20  loss 3.5\n", numbers=True)
    expect(block, "one\nstep 7  loss 10.25e-3\n", numbers=False)
    for said in ("one\nstep 20  loss 3.4\n", "step 20  loss 3.5\none\n", "one\n"):
        with pytest.raises(AssertionError):
            expect(block, said, numbers=True)


def test_a_page_is_gone_through_in_order(tmp_path):
    def page(*pieces: tuple[str, str]) -> list[Block]:
        return [Block(ROOT / "docs/x.md", tuple(words.split()), text, 1) for words, text in pieces]

    told = [("python a.py", "print(1)\n"), ("python a.py more", "print(2)\n"), ("diff a.py", "-print(2)\n+print(3)\n")]
    walk(page(*told, ("sh run", "python a.py\n"), ("text", "1\n3\n")), tmp_path)
    with pytest.raises(AssertionError, match="expected"):
        walk(page(("sh run", "python a.py\n"), ("text", "2\n")), tmp_path)
    bad = [("mcd", "mcd 1\nspan a = b\n"), ("sh run", "mcd check spec.mcd\n")]
    with pytest.raises(AssertionError, match="does not show"):
        walk(page(*bad), tmp_path)
    walk(page(*bad, ("text", "error[MCD209]: no span or concept `b`\n")), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", WALKED, ids=shown)
def test_a_page_is_true_from_top_to_bottom(page, tmp_path):
    steps = list(blocks(page))
    if page.parent.name == "howto":
        given(tmp_path, " ".join(block.text for block in steps if block.file))
    printed = walk(steps, tmp_path)
    if page.name == "tutorial.md":
        right = [int(share) for share in re.findall(r"(\d+)% of \d+ answers are right", printed)]
        assert right[0] >= 95 and right[1] <= 40, right


def given(folder: Path, texts: str) -> None:
    """What docs/howto/README.md gives its pages: the config of a model, and a tokenizer of one token per word of theirs."""
    words = sorted(set(re.findall(r"\w+|[^\w\s]", texts)))
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(["[UNK]", *words])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(HOWTO), encoding="utf-8")


HOWTO = {"model_type": "gpt2", "n_layer": 12, "n_head": 4, "n_embd": 32, "vocab_size": 512, "n_positions": 512}
HOWTO |= {"bos_token_id": None, "eos_token_id": None}


@pytest.mark.parametrize("page", sorted((ROOT / "docs/howto").glob("*.md")), ids=shown)
def test_a_method_fits_in_twenty_lines(page):
    for block in blocks(page):
        assert block.words[0] != "mcd" or len([row for row in block.text.splitlines() if row.strip()]) <= 20


# --- links and words

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_somewhere(page):
    broken = []
    for inline, reference in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        link = inline or reference
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_codes_lead_to_their_pages():
    page, text = (
        HERE / "howto/x.md",
        "It gives MCD407, `MCD408` and\n[MCD301] to MCD999.\n\n```text\nMCD302\n```\n",
    )
    once = linked(page, text)
    found = "It gives [MCD407], `MCD408` and\n[MCD301] to MCD999.\n\n```text\nMCD302\n```\n\n"
    assert once == found + "[MCD301]: ../diagnostics/MCD301.md\n[MCD407]: ../diagnostics/MCD407.md\n"
    assert linked(page, once) == once
    assert linked(HERE / "decisions/x.md", text) == text and linked(page, "No code.\n") == "No code.\n"


def words() -> set[str]:
    """Every word that the tables of the language know."""
    found = {
        *vocabulary.PRELUDE_SETS,
        *vocabulary.STEPS,
        *vocabulary.BUILT_INS,
        *vocabulary.RELATIONS,
        *vocabulary.LET_TYPES,
    }
    found |= {*vocabulary.ANCHOR_WORDS, *vocabulary.ANCHORS, *vocabulary.CONDITIONS}
    found |= {*vocabulary.FORMATS, *vocabulary.SELECTORS, *vocabulary.MAPS}
    tables = [*vocabulary.BLOCKS.values(), *vocabulary.SELECTORS.values(), *vocabulary.MAPS.values()]
    tables += [vocabulary.RAMP, vocabulary.SPLIT_STRIDE, vocabulary.NEXT]
    for table in tables:
        for entry in table.entries.values():
            found |= {*entry.words, *([entry.name] if entry.keyword or table in vocabulary.BLOCKS.values() else [])}
    return found


def told(*pages: Path) -> set[str]:
    return set(re.findall(r"\w+", " ".join(page.read_text(encoding="utf-8") for page in pages)))


def test_the_reference_knows_every_word():
    assert words() - told(ROOT / "docs/language.md", *(ROOT / "docs/language").glob("*.md")) == set()


REFERENCE = [ROOT / "docs/language.md", *sorted((ROOT / "docs/language").glob("*.md"))]
TABLES = {"like": "relate", "stage": "curriculum"}
"""Blocks whose attributes stand in the section of another word."""


def sections(word: str) -> str:
    """The parts of the reference that tell of a word: those whose heading has it, and the page that begins with it."""
    found = []
    for page in REFERENCE:
        text = page.read_text(encoding="utf-8")
        opening = text.split("\n## ", 1)[0]
        found += [opening] * (f"\n{word} " in FENCE.sub(r"\n\2", opening))
        found += [
            part for part in re.split(r"^(?=## )", text, flags=re.MULTILINE) if f"`{word}`" in part.split("\n")[0]
        ]
    return "\n".join(found)


@pytest.mark.parametrize("block", vocabulary.BLOCKS)
def test_every_attribute_has_its_row(block):
    rows = re.findall(r"^\| (`[^|]*) \|", sections(TABLES.get(block, block)), re.MULTILINE)
    named = {word for row in rows for word in re.findall(r"`([a-z_]+)`", row)}
    assert set(vocabulary.BLOCKS[block].entries) - named == set()


def test_every_declaration_function_and_loss_is_in_the_reference():
    text = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE)
    missing = [word for word in (*KEYWORDS, *INNER, *OPERATORS) if not re.search(rf"`[^`\n]*\b{word}\b", text)]
    missing += [name for name in FUNCTIONS if f"`{name}(" not in text and not re.search(rf"\b{name}\(", text)]
    losses = [*ATTENTION, *TOWARD, *RELATE, "classify", "contrast", "predict"]
    missing += [loss for loss in losses if not re.search(rf"^\| `{loss}[` ]", text, re.MULTILINE)]
    assert missing == []


@pytest.mark.parametrize("page", REFERENCE, ids=shown)
def test_a_page_of_the_reference_tells_the_cost_and_the_codes(page):
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", FENCE.sub("", text), re.MULTILINE)
    assert any("compiles to" in heading or "becomes of it" in heading for heading in headings)
    assert any("cost" in heading for heading in headings)
    assert re.search(r"^Codes\b.*\bMCD\d{3}", text, re.MULTILINE)


def test_every_code_is_named_where_it_is_met():
    """In the reference, or on the pages of what else gives it: the directory, the runtime, the commands."""
    pages = [*REFERENCE, *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages if page not in CODE_PAGES)
    named = set()
    for first, last in re.findall(r"\[?MCD(\d{3})\]?(?:\s+to\s+\[?MCD(\d{3}))?", text):
        named |= {f"MCD{number}" for number in range(int(first), int(last or first) + 1)}
    assert set(CODES) - named == set()


def test_codes_that_pages_name_exist():
    named = {
        (shown(page), code) for page in PAGES for code in re.findall(r"MCD[0-9]{3}", page.read_text(encoding="utf-8"))
    }
    assert {(page, code) for page, code in named if code not in CODES} == set()


def test_generated_files_are_up_to_date():
    checked = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.stderr == "" and checked.returncode == 0


@pytest.mark.parametrize("code", CODES.values(), ids=lambda code: code.id)
def test_summaries_are_sentences(code):
    assert re.fullmatch(r"[A-Z`].*\.", code.summary)
