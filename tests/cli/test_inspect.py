"""`mcd inspect` as a user sees it."""

from __future__ import annotations

import json
import os

import jsonschema
import pytest
from click.testing import CliRunner

from mcd.cli.inspect_rows import rows_text
from mcd.cli.main import mcd
from mcd.compiler.inspect.opened import open_dataset
from mcd.compiler.inspect.report import HeldReport, Inspection, RangeReport, RowReport
from mcd.docs.generate import schema
from mcd.dsl.render import text_width

from ..inspected import rich


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rich")
    rich(folder)
    return folder / "out"


def run(*arguments, **environment):
    result = CliRunner().invoke(mcd, ["inspect", *map(str, arguments)], env={"COLUMNS": "100", **environment})
    return result.exit_code, result.stdout, result.stderr


def section(text, title):
    lines = text.splitlines()
    first = lines.index(title) + 1
    return lines[first : lines.index("", first) if "" in lines[first:] else None]


def test_a_dataset(out):
    code, text, err = run(out)
    assert (code, err) == (0, "")
    assert text.splitlines()[1] == (
        f"  a model given by numbers: 4 layers, 2 heads, width 8, context 16;"
        f" tokenizer {open_dataset(out).plan.tokenizer.digest[:8]}"
    )
    assert "  field.factors     list<float32>  a field of the record, read by `boost` (weigh)" in section(
        text, "columns"
    )
    assert section(text, "splits")[1].split()[:5] == ["train", "4", "5", "41", "1"]
    assert section(text, "counts")[4:7] == [
        "  back                        2        6     3",
        "    2 cut off by the context",
        "  kind                        6       12     6",
    ]
    assert "  train       5    3       6   8.2   16   16" in section(text, "tokens per row")
    assert "  animal    0       2   2.286    4    4      16   33.3%" in section(text, "spans per row, by set")
    assert section(text, "labels of kind") == ["  noun  6  50.0%", "  odd   6  50.0%"]
    assert section(text, "rules")[-1] == "  `mcd plan spec.mcd` prints the whole plan"


def test_rows(out):
    code, text, _ = run(out, "--id", "long")
    first, second = text.split("\n\n")
    assert code == 0
    assert first.startswith("train 3  long  of s, 16 tokens\n   0  the| cat| saw| a| dog| and| a| cat|")
    assert '      10 " dog" -> 7 " cat"  weight 3.5\n' in first
    assert second.startswith("train 4  long  part 1  of s, 12 tokens\n")
    assert "  repeated, without loss: 0..2\n" in second
    assert "  the context cuts this record: of rules on `record`, `weigh` and `keep` alone act\n" in second
    assert '      3..11 " rain and the cat and a red dog ran"\n' in second


def test_limit_says_that_there_is_more(out):
    text = run(out, "--rule", "pairs", "--limit", "2")[1]
    assert text.endswith("\n\nthere are more: `--limit` shows more than 2\n") and text.count(" of s, ") == 2
    assert "there are more" not in run(out, "--rule", "pairs", "--limit", "6")[1]
    assert run(out, "--rule", "all", "--split", "valid")[1] == "no row\n"


@pytest.mark.parametrize(
    "arguments",
    [(), ("--no-statistics",), ("--rows", "0..6"), ("--rule", "links"), ("--rule", "all", "--split", "valid")],
)
def test_json_follows_its_schema(out, arguments):
    code, text, _ = run(out, *arguments, "--format", "json")
    found, wanted = json.loads(text), json.loads(schema("inspect"))
    assert code == 0 and found["version"] == 1
    jsonschema.Draft202012Validator(wanted).validate(found)
    assert not jsonschema.Draft202012Validator(wanted).is_valid(found | {"unheard_of": 1})
    assert (found["dataset"] is None) == (found["rows"] is not None)


@pytest.mark.parametrize(
    "arguments",
    [("--rows", "5"), ("--rows", "5..2"), ("--rows", "a..b"), ("--rows", "1..2", "--row", "1"), ("--row", "-1")],
)
def test_wrong_usage(out, arguments):
    code, text, err = run(out, *arguments)
    assert (code, text) == (2, "") and "Error: " in err


def test_what_is_no_dataset(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        code, text, err = run(path)
        assert (code, text) == (1, "") and err.startswith("error[MCD601]: ")


def test_a_damaged_dataset(out, tmp_path):
    (tmp_path / "manifest.json").write_bytes((out / "manifest.json").read_bytes()[:-40])
    code, _, err = run(tmp_path)
    assert code == 1 and err.startswith("error[MCD607]: ")


def test_tokens_without_their_tokenizer(out, tmp_path, monkeypatch):
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in out.rglob("*"):
        if path.is_file():
            target = moved / path.relative_to(out)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    monkeypatch.chdir(tmp_path)
    text = run(moved, "--id", "a")[1]
    assert "\n   0  0|1|7|0|2|9\n" in text and "      4 -> 1  weight 1.5\n" in text
    assert text.endswith("found: `--tokenizer FILE` names one\n")
    assert '      4 " dog" -> 1 " cat"' in run(moved, "--id", "a", "--tokenizer", out.parent / "tokenizer.json")[1]


# --- what terminals make of it

TEXTS = ("日本", "a\u0301", "\u0301b", "שלום", "\x1b[31m", "\u202e", "🙂", "", "\n", " c|d")


def shown(plan, texts=TEXTS, color=False, held=()):
    row = RowReport(
        split="train",
        number=0,
        shard="s",
        id="\x07",
        part=0,
        source="s",
        input_ids=tuple(range(len(texts))),
        texts=tuple(texts),
        fields={"a\tb": ("\x1b",)},
        vectors={},
        held=tuple(held),
        blank=(),
        repeat=(),
        whole=True,
    )
    return rows_text(Inspection(rows=(row,)), plan, color)


def test_what_a_terminal_would_obey_is_shown(out):
    """Controls as escapes, a lone mark on a circle, text from the right in isolates, a token that a later one completes as …"""
    text = shown(open_dataset(out).plan)
    first, tokens, field = text.splitlines()
    assert first == "train 0  \\u{7}  of s, 10 tokens"
    assert tokens == "   0  日本|a\u0301|\u25cc\u0301b|\u2068שלום\u2069|\\u{1B}[31m|\\u{202E}|🙂|…|\\n| c|d"
    assert field == "  .a\\tb = \\u{1B}"


def test_lines_fit_by_columns(out, monkeypatch):
    """Wide characters take two columns, marks none. A line has 80 - 7 columns for tokens: 24 wide ones (24 x 3 - 1 = 71), or
    12 wide ones and 19 others (36 + 38 - 1), or 37 others (74 - 1)."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = shown(open_dataset(out).plan, ["日"] * 60 + ["e\u0301"] * 60).splitlines()[1:-1]
    assert max(map(text_width, lines)) <= 80
    assert [int(line.split()[0]) for line in lines] == [0, 24, 48, 79, 116]
    assert "".join(lines).count("日") == 60


def test_one_long_token_has_its_line(out, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = shown(open_dataset(out).plan, ["a", "b" * 100, "c"]).splitlines()[1:-1]
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]


def test_supervised_tokens_are_underlined(out):
    plan = open_dataset(out).plan
    span = RangeReport(start=1, end=2, text="b")
    held = HeldReport(key="k", written="word", role="acts", rules=("kind",), spans=(span,))
    cut = HeldReport(key="k/cut", written="word", role="cut", rules=("kind",), spans=(RangeReport(start=0, end=1),))
    text = shown(plan, ("a", "b", "c"), color=True, held=(held, cut))
    assert text.splitlines()[1] == "   0  a\x1b[2m|\x1b[0m\x1b[4mb\x1b[0m\x1b[2m|\x1b[0mc"
    assert "\x1b" not in shown(plan, ("a", "b", "c"), held=(held,))
    for role in ("cut", "again"):
        assert "\x1b[4m" not in shown(plan, ("a",), True, [held.model_copy(update={"role": role})])


def test_long_texts_and_many_spans_are_cut(out):
    spans = tuple(RangeReport(start=at, end=at + 1, text="日" * 100) for at in range(60))
    text = shown(open_dataset(out).plan, held=[HeldReport(key="k", written="w", role="acts", rules=(), spans=spans)])
    assert "  w  (no rule of the plan reads it)\n" in text
    assert f'      0 "{"日" * 15} … {"日" * 15}"\n' in text
    assert text.endswith("      and 10 more, which `--format json` lists\n")
