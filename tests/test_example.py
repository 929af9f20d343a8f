"""The language by example: one spec with nearly every construct is checked, compiled, measured, trained and evaluated as it
stands, and each of its rules acts.

`tests/dsl/data/example.mcd` is the spec that the language was designed by. Its project is made here: a student of 6 layers, a
teacher of 12 with another width, 80 records with mentions and carries, and files that it imports and reads. The anchor that
`causality` is to lean to is learned: its own and an orthonormal one cannot both be had (MCD320).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from mcd.cli.main import mcd
from mcd.runtime.dataset import load

from .teachers import write_letters, write_teacher

SPEC = Path(__file__).parent / "dsl" / "data" / "example.mcd"
STUDENT = {
    "model_type": "llama",
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "hidden_size": 24,
    "intermediate_size": 32,
    "vocab_size": 64,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": None,
}
LOGIC = """mcd 1
span hence = phrases("hence")
span chance = phrases("luck")
concept relation { anchor = learned }
concept cause { spans = hence  anchor = orthonormal }
concept coincidence { spans = chance  anchor = orthonormal }
"""
NAMES = ("tom", "ann", "kim", "bob")
RULES = {
    *("kinship", "relate logic.cause opposes logic.coincidence", "coref", "induction"),
    *("axis", "carry", "teach", "group", "early", "boost", "rest", "hard", "anaphora.copy", "anaphora.same"),
}


def record(number: int) -> dict[str, object]:
    """`tom saw ann because he knew kim, hence he had luck since then.`, with its five mentions, three of one entity."""
    one, two, three = (NAMES[(number + i) % 4] for i in (0, 1, 2))
    words = [one, "saw", two, "because", "he", "knew", three, ", hence", "he", "had luck since then."]
    premise, mentions = "", []
    for at, word in enumerate(words):
        premise += " " if premise and word[0] != "," else ""
        if at in (0, 2, 4, 6, 8):
            entity, kind = (one, "pronoun") if word == "he" else (word, "name")
            mentions.append({"start": len(premise), "end": len(premise) + len(word), "entity": entity, "kind": kind})
        premise += word
    answer = f"{number % 10}{(number * 7) % 10}"
    return {
        "id": f"r{number}",
        "premise": premise,
        "question": "how many?",
        "answer": answer,
        "mentions": mentions,
        "carries": [number % 2, (number // 2) % 2],
    }


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The project; gives the path of its spec."""
    for folder in ("concepts", "models/small", "models/big", "data", "lists"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "mcd.toml").touch()
    shutil.copy(SPEC, tmp_path / "example.mcd")
    (tmp_path / "concepts/logic.mcd").write_text(LOGIC)
    (tmp_path / "lists/cause.txt").write_text("therefore\n")
    (tmp_path / "models/small/config.json").write_text(json.dumps(STUDENT))
    write_letters(tmp_path / "models/small/tokenizer.json", "th", "he")
    write_letters(tmp_path / "models/big/tokenizer.json", "be", "ca")
    write_teacher(tmp_path / "models/big", scale=0.2, num_hidden_layers=12, hidden_size=16, max_position_embeddings=512)
    lines = [json.dumps(record(number)) + "\n" for number in range(80)]
    (tmp_path / "data/stories-1.jsonl").write_text("".join(lines[:40]))
    (tmp_path / "data/stories-2.jsonl").write_text("".join(lines[40:]))
    return tmp_path / "example.mcd"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(mcd, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_example_goes_all_the_way(example: Path) -> None:
    root, out, start, trained = (example.parent / name for name in ("", "out", "start", "run"))
    small = root / "models/small/config.json"
    code, printed, _ = run("check", example)
    assert "error" not in printed and code == 0, printed
    code, _, err = run("compile", example, "-o", out)
    assert code == 0, err
    assert {rule.id for rule in load(out).plan.rules} == RULES

    reference = example.with_name("reference.mcd")
    plain = 'source s = jsonl("data/stories-*.jsonl") { id = .id  text = "{.premise}" }\n'
    header = example.read_text().partition("teacher big")[0].partition("model gpt")
    reference.write_text(f"mcd 1\n{header[1]}{header[2]}{plain}")
    assert run("compile", reference, "-o", root / "plain")[0] == 0
    code, _, err = run("train", root / "plain", "--config", small, "-o", start, "--steps", 2, "--device", "cpu")
    assert code == 0, err
    code, _, err = run("measure", out, "--model", start, "-o", "reference", "--measure", "loss", "--device", "cpu")
    assert code == 0, err

    options = ("--steps", 10, "--batch-size", 8, "--accumulate", 2, "--log-every", 1, "--device", "cpu")
    code, printed, err = run("train", out, "--config", small, "-o", trained, *options)
    assert code == 0, err
    receipts = {entry["rule"]: entry for entry in json.loads((trained / "receipts.json").read_text())}
    assert receipts.keys() == RULES
    assert [rule for rule, receipt in receipts.items() if not receipt["rows"]] == []

    code, printed, err = run("evaluate", out, "--model", trained, "--format", "json", "--device", "cpu")
    (claim,) = json.loads(printed)["claims"]
    assert code == (0 if claim["holds"] else 1)
