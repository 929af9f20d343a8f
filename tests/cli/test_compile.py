"""`mcd compile` and `mcd plan` as a user sees them."""

import json

import pytest
from click.testing import CliRunner

from mcd.cli.main import mcd
from mcd.cli.options import Size

from ..projects import project

SOURCE = 'source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }\nspan cat = phrases("cat")\n'
RECORDS = [{"id": "a", "text": "the cat and the cat"}, {"id": "b", "text": "a dog ran"}]


def run(*arguments):
    result = CliRunner().invoke(mcd, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_table_of_a_compilation(tmp_path):
    spec = (
        SOURCE + "weigh cat { factor = 2 }\nattend far: cat -> cat where query before key { layers = 1  heads = any }\n"
    )
    path = project(tmp_path, spec.replace("query before key", "query.index == key.index - 1"), RECORDS)
    code, out, err = run("compile", path, "-o", tmp_path / "out")
    assert code == 0
    assert out.splitlines()[1:] == [
        "  rule       records  matched  rows  lost or ragged",
        "  weigh cat        1        2     2",
        "  far              1        1     0  forward 1",
    ]
    assert "warning[MCD580]" in err and "`far`: 1 of 1 edges that only point forward in time" in err
    assert run("compile", path, "-o", tmp_path / "out")[1].startswith(
        f"{tmp_path / 'out'}: plan written, shards kept; "
    )


def test_rows_of_a_join_without_a_condition_are_not_counted_beforehand(tmp_path):
    path = project(tmp_path, SOURCE + "attend all: cat -> cat { layers = 1  heads = any }\n", RECORDS)
    out = run("compile", path, "-o", tmp_path / "out")[1]
    assert out.splitlines()[2].split() == ["all", "1", "2"]


def test_many_rules_are_summed_up(tmp_path):
    """30 rules that lost nothing: 20 are shown, the others counted."""
    rules = "".join(f"weigh w{i}: cat {{ factor = 2 }}\n" for i in range(30))
    code, out, _ = run("compile", project(tmp_path, SOURCE + rules, RECORDS), "-o", tmp_path / "out")
    assert code == 0 and len(out.splitlines()) == 23
    assert out.splitlines()[-1] == "  and 10 more rules that matched 20 and lost nothing"


def test_quiet_prints_findings_alone(tmp_path):
    path = project(tmp_path, SOURCE + "weigh cat { factor = 2 }\n", RECORDS)
    assert run("compile", "-q", path, "-o", tmp_path / "out") == (0, "", "")


def test_a_spec_with_errors_compiles_to_nothing(tmp_path):
    code, out, err = run(
        "compile", project(tmp_path, SOURCE + "weigh dog { factor = 2 }\n", RECORDS), "-o", tmp_path / "out"
    )
    assert (code, out) == (1, "") and "error[MCD209]" in err
    assert not (tmp_path / "out").exists()


def test_a_plan_is_printed_without_reading_the_source(tmp_path):
    path = project(tmp_path, SOURCE + "weigh cat { factor = 2 }\n", RECORDS)
    (tmp_path / "data.jsonl").write_text("no JSON at all")
    code, out, _ = run("plan", path)
    assert code == 0 and "weigh cat  spec.mcd:8  cat  token loss  factor 2" in out
    code, out, _ = run("plan", path, "--format", "json")
    assert code == 0 and json.loads(out)["format"] == 1


def test_a_spec_is_compiled_for_another_model(tmp_path):
    """Half of 4 layers is 2, half of 12 is 6; the shards are the same."""
    path = project(
        tmp_path, SOURCE + "attend near: cat -> cat where key before query { layers = 50%  heads = any }\n", RECORDS
    )
    config = {"model_type": "gpt2", "n_layer": 12, "n_head": 2, "n_embd": 16, "vocab_size": 64, "n_positions": 64}
    (tmp_path / "other.json").write_text(json.dumps(config))
    assert "layers 2 " in run("plan", path)[1]
    assert "layers 6 " in run("plan", path, "--model", tmp_path / "other.json")[1]
    run("compile", path, "-o", tmp_path / "out")
    code, out, _ = run("compile", path, "-o", tmp_path / "out", "--model", tmp_path / "other.json")
    assert code == 0 and "plan written, shards kept" in out
    code, _, err = run("plan", path, "--model", tmp_path / "none.json")
    assert code == 1 and "`none.json` cannot be read: No such file or directory" in err


# --- tokens that are kept --------------------------------------------------------------------------------------------


def kept(folder):
    return sorted(path.suffix for path in folder.glob(".mcd-cache/*.tokens"))


def test_tokens_are_kept_unless_told(tmp_path):
    path = project(tmp_path, SOURCE + "weigh cat { factor = 2 }\n", RECORDS)
    assert run("compile", "-q", "--no-cache", path, "-o", tmp_path / "a") == (0, "", "")
    assert run("compile", "-q", "--cache-limit", "0", path, "-o", tmp_path / "b") == (0, "", "")
    assert not (tmp_path / ".mcd-cache").exists()
    assert run("compile", "-q", path, "-o", tmp_path / "c") == (0, "", "")
    assert kept(tmp_path) == [".tokens"]


def test_shares_keep_no_tokens_unless_told(tmp_path):
    path = project(tmp_path, SOURCE + "weigh cat { factor = 2 }\n", RECORDS)
    share = ("compile", "-q", path, "-o", tmp_path / "out", "--task", "0", "--of", "1")
    assert run(*share)[0] == 0 and kept(tmp_path) == []
    (tmp_path / "data.jsonl").write_text('{"id": "c", "text": "the cat"}\n')
    assert run(*share, "--cache")[0] == 0 and kept(tmp_path) == [".tokens"]


@pytest.mark.parametrize(
    ("size", "limit"), [("0", 0), ("500MB", 500_000_000), ("2GiB", 2 << 30), ("1 kib", 1024), ("7b", 7), ("9", 9)]
)
def test_sizes(size, limit):
    assert Size().convert(size, None, None) == limit


@pytest.mark.parametrize("size", ["", "GiB", "1.5GiB", "-1", "2 gigs", "2GiBs"])
def test_what_is_no_size(tmp_path, size):
    code, _, err = run("compile", tmp_path / "spec.mcd", "-o", tmp_path / "out", "--cache-limit", size)
    assert code == 2 and f"{size!r} is no size: 500MB, 2GiB or 0, say" in err
