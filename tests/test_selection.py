"""From a spec on disk through `mcd compile`, `mcd measure` and `mcd train`: scores, `keep`, `mix` and `order`."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import GPT2LMHeadModel

import mcd
from mcd.cli.main import mcd as command
from mcd.compiler.plan import KeepPlan, LengthTerm, LiveTerm, MeasureTerm
from mcd.compiler.verify import broken_invariants
from mcd.dsl.diagnostics import Failure
from mcd.runtime.train import Settings, step_batches

from .projects import checked, compiled, project

SOURCES = """source s = jsonl("data.jsonl") { id = .id  split = .split  text = .text }
source t = jsonl("more.jsonl") { id = .id  text = .text }
span cat = phrases("cat")
"""
RULES = """weigh rare: cat { factor = 1 + measure("ref", entropy) }
keep hard: tokens { score = live.loss - measure("ref", loss)  top = 60%  per = record }
"""
ORDER = """curriculum {
  mix   = {s: 70%, t: 30%}
  order = -length
  stage warm 50% { only = [rare] }
  stage late 50% { hard.factor = ramp(0, 1) }
}
"""
WORDS = "the cat dog saw a red bird and it ran off because of rain".split()  # noqa: SIM905
CONFIG = {"model_type": "gpt2", "n_layer": 4, "n_head": 2, "n_embd": 8, "vocab_size": 64, "n_positions": 16}
CONFIG |= {"bos_token_id": None, "eos_token_id": None, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}


def records(prefix, count, seed):
    random = np.random.default_rng(seed)
    return [
        {
            "id": f"{prefix}{n}",
            "text": " ".join(random.choice(WORDS, random.integers(3, 14))),
            "split": "valid" if n % 5 == 0 else "train",
            "rank": n % 3,
        }
        for n in range(count)
    ]


def make(folder, spec):
    (folder / "more.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records("t", 20, 1)))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return project(folder, SOURCES + spec, records("s", 60, 0))


def run(*arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A compiled project, a model that was trained a little on it, and the measure `ref` that it gave."""
    folder = tmp_path_factory.mktemp("selection")
    spec, out = make(folder, RULES + ORDER), folder / "out"
    assert run("compile", "-q", spec, "-o", out) == (0, "")
    found = run(
        "train", out, "--without-rules", "--config", folder / "config.json", "--steps", 5, "-o", folder / "ref", "-q"
    )
    assert found[0] == 0, found[1]
    code, output = run("measure", out, "--model", folder / "ref", "-o", "ref")
    assert code == 0 and "loss" in output, output
    return folder


def test_a_run_without_the_measure_stops_before_it_makes_anything(tmp_path):
    spec = make(tmp_path, RULES)
    compiled(spec, tmp_path / "out")
    code, output = run(
        "train", tmp_path / "out", "--config", tmp_path / "config.json", "--steps", 2, "-o", tmp_path / "run"
    )
    assert code == 1 and "error[MCD650]: `out` has no measure `ref`, which rule `rare` reads" in output
    assert f"help: take it: `mcd measure {tmp_path / 'out'} --model MODEL -o ref`" in output
    assert not (tmp_path / "run").exists()


def test_the_token_loss_of_a_batch_by_hand(folder):
    """Token by token in float64: weights 1, or 1 + the entropy that the measure has on `cat`; of each record the
    floor(0.6 n + 1/2) tokens whose loss is furthest above the measure's; their weighted mean."""
    dataset = mcd.load(folder / "out", split="valid")
    torch.manual_seed(3)
    model = GPT2LMHeadModel(GPT2LMHeadModel.config_class(**CONFIG))
    rows = dataset.rows(range(5))
    with mcd.supervise(model, dataset).eval() as supervised:
        out = supervised(mcd.Collator(dataset.plan)(rows), time=1.0)
    cat, total, weight = WORDS.index("cat"), 0.0, 0.0
    kept = 0
    for row in rows:
        ids = torch.tensor(row.input_ids.astype("int64"))
        log_p = model.double()(input_ids=ids[None]).logits[0].log_softmax(-1)
        ref = {name: _numbers(row, name) for name in ("loss", "entropy")}
        losses = {t: -log_p[t - 1, ids[t]].item() for t in range(1, len(ids))}
        ranked = sorted(losses, key=lambda t: -(losses[t] - ref["loss"][t]))
        for t in ranked[: int(0.6 * len(ranked) + 0.5)]:
            factor = 1 + ref["entropy"][t] if ids[t] == cat else 1.0
            total, weight, kept = total + factor * losses[t], weight + factor, kept + 1
    assert out.token.item() == pytest.approx(total / weight, rel=1e-5)
    assert out.kept.tolist() == [kept]


def _numbers(row, name):
    lists = row.chunk.measures["ref", name]
    return lists.values[lists.offsets[row.at] : lists.offsets[row.at + 1]].tolist()


def test_a_run_says_what_was_kept_and_the_schedule_acts(folder):
    arguments = (
        "--config",
        folder / "config.json",
        "--steps",
        6,
        "--batch-size",
        4,
        "--accumulate",
        2,
        "--log-every",
        1,
    )
    code, output = run("train", folder / "out", *arguments, "-o", folder / "run", "--overwrite")
    assert code == 0, output
    log = [json.loads(line) for line in (folder / "run/train.jsonl").read_text().splitlines()]
    assert [entry["rules"]["hard"]["multiplier"] for entry in log] == [
        0,
        0,
        0,
        0,
        pytest.approx(1 / 3),
        pytest.approx(2 / 3),
    ]
    for entry in log:
        hard = entry["rules"]["hard"]
        assert 0.5 * hard["ranked"] < hard["kept"] < 0.7 * hard["ranked"]
    (line,) = (line for line in output.splitlines() if line.startswith("hard"))
    assert "kept" in line and line.endswith("ranked")
    receipts = {each["rule"]: each for each in json.loads((folder / "run/receipts.json").read_text())}
    assert receipts["hard"]["kept"] == sum(entry["rules"]["hard"]["kept"] for entry in log)
    assert receipts["rare"]["kept"] is None


def test_training_meets_the_mix_in_its_order(folder):
    """An epoch in micro-batches of 8: lengths fall, and t has its 30% of the tokens."""
    dataset = mcd.load(folder / "out", split="train")
    rows = len(mcd.Sampler(dataset))
    batches = [batch for step in step_batches(dataset, Settings(steps=rows // 8, batch_size=8)) for batch in step]
    lengths = [int(each) for batch in batches for each in batch.attention_mask.sum(1)]
    assert lengths == sorted(lengths, reverse=True)
    held = {name: sum(len(row.input_ids) for row in dataset if row.source == name) for name in "st"}
    seen = {
        name: sum(len(r.input_ids) for r in dataset.rows(mcd.Sampler(dataset).epoch(0)) if r.source == name)
        for name in "st"
    }
    assert abs(seen["t"] - 0.3 * sum(held.values())) <= 13


# --- how, not where --------------------------------------------------------------------------------------------------


def test_scores_and_the_order_are_the_plan_alone_and_measures_stay(folder, tmp_path):
    """Every change of a score, a share, the mix or the order keeps shards and measures; a field in the order needs a column."""
    spec, out = make(tmp_path, RULES + ORDER), tmp_path / "out"
    compiled(spec, out)
    assert run("measure", out, "--model", folder / "ref", "-o", "ref")[0] == 0
    before = (out / "measures/ref.arrow").read_bytes()
    changes = [("60%", "20%"), ("live.loss - ", "1 - "), ("70%, t: 30%", "50%, t: 50%"), ("-length", "length")]
    text = spec.read_text()
    for old, new in changes:
        spec.write_text(text := text.replace(old, new))
        assert compiled(spec, out).reused
        mcd.load(out).read_measures()
    assert (out / "measures/ref.arrow").read_bytes() == before
    spec.write_text(text.replace("order = length", "order = .rank"))
    assert not compiled(spec, out).reused
    assert not (out / "measures").exists()


def test_a_plan_of_scores_is_sound_and_what_is_not_is_told(tmp_path):
    plan = compiled(make(tmp_path, RULES + ORDER), tmp_path / "out").plan
    keep = next(rule for rule in plan.rules if isinstance(rule, KeepPlan))
    assert keep.score == (LiveTerm(live="loss"), MeasureTerm(file="ref", column="loss"), "-")
    assert (plan.mix, plan.order) == ({"s": 0.7, "t": 0.3}, (0.0, LengthTerm(length="tokens"), "-"))
    assert broken_invariants(plan) == []
    for change, told in [
        ({"score": (LiveTerm(live="loss"), "-")}, "rule `hard`: has a score that is no postfix expression"),
        ({"share": 0.0}, "rule `hard`: keeps a share of 0"),
    ]:
        rules = tuple(rule.model_copy(update=change) if rule is keep else rule for rule in plan.rules)
        assert broken_invariants(plan.model_copy(update={"rules": rules})) == [told]
    assert broken_invariants(plan.model_copy(update={"mix": {"s": 0.5}})) == [
        "mixes sources by shares that add up to 0.5"
    ]
    assert broken_invariants(plan.model_copy(update={"order": ()})) == [
        "orders records by what is no postfix expression"
    ]


def test_mcd_plan_tells_scores_mix_and_order(tmp_path):
    spec = make(
        tmp_path,
        RULES
        + ORDER
        + 'keep few: cat { score = -(live.loss * (1 - measure("ref", loss)))  bottom = 5%  per = batch }\n',
    )
    code, output = run("plan", spec)
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert code == 0
    assert 'rare spec.mcd:9 cat token loss factor max(0, 1 + measure("ref", entropy))' in lines
    kept = 'factor 0 outside the top 60% by live.loss - measure("ref", loss) of each record'
    assert f"hard spec.mcd:10 tokens token loss {kept}" in lines
    few = 'factor 0 outside the bottom 5% by -(live.loss * (1 - measure("ref", loss))) of each batch'
    assert f"few spec.mcd:17 cat token loss {few}, so that micro-batches change it" in lines
    assert "tokens of an epoch: s 70%, t 30%" in lines
    assert "order of an epoch: -length, ascending; equal ones shuffled" in lines


# --- while compiling -------------------------------------------------------------------------------------------------


def failure_of(folder, spec):
    with pytest.raises(Failure) as caught:
        compiled(make(folder, spec), folder / "out")
    return [(found.code.id, found.message) for found in caught.value.diagnostics]


def test_a_source_of_the_mix_without_a_record_to_train_on(tmp_path):
    (tmp_path / "late.jsonl").write_text('{"id": "x", "text": "the cat"}\n')
    late = 'source late = jsonl("late.jsonl") { id = .id  split = "valid"  text = .text }\n'
    message = "`mix` gives `late` 30% of the tokens, and it has no record in split `train`"
    assert failure_of(tmp_path, late + "curriculum { mix = {s: 70%, late: 30%} }\n") == [("MCD653", message)]


def test_a_field_of_the_order_is_a_number_of_the_record(tmp_path):
    assert failure_of(tmp_path, "curriculum { order = .nothing }\n") == [
        ("MCD587", "`order` reads `.nothing`, which no record has")
    ]
    ((code, message),) = failure_of(tmp_path, "curriculum { order = .split }\n")
    assert code == "MCD620" and message.endswith("is `'valid'` (string); a number is expected")


def test_a_keep_counts_what_its_set_holds_and_loses_nothing_to_the_context(tmp_path):
    """Of 14 words more than the context of 16, `keep` ranks what is left, as `weigh` weighs it."""
    spec = make(tmp_path, 'keep hard: scene { score = live.loss  top = 50% }\nspan scene = regex(r"the cat.*")\n')
    long = {"id": "long", "text": "the cat " + "ran " * 20, "split": "train"}
    (tmp_path / "data.jsonl").write_text(json.dumps(long) + "\n")
    found = compiled(spec, tmp_path / "out")
    assert [each.code.id for each in found.warnings] == []
    assert found.manifest.rules["hard"].total("cut") == 1
    dataset = mcd.load(tmp_path / "out", split="train")
    batch = mcd.Collator(dataset.plan)([row for row in dataset if row.id == "long"])
    assert batch.keep.position.tolist() == list(range(1, 16))


def test_a_program_without_a_curriculum_mixes_and_orders_nothing(tmp_path):
    program = checked(make(tmp_path, ""))
    assert (program.mix, program.order) == ((), None)
