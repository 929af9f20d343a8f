"""The bare loop and `mcd train`: the same again with the same seed, micro-batches that change nothing, and what a run writes."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from mcd.cli.main import mcd
from mcd.dsl.diagnostics import Failure
from mcd.runtime.dataset import load
from mcd.runtime.run import claim, new_model, save
from mcd.runtime.train import Settings, evaluate, learning_rate, step_batches, train
from mcd.runtime.training.logs import summary

from .datasets import COLUMNS, HIDDEN, attend, classify, plan, random_batch, random_recipe, relate, weigh, write

SETTINGS = Settings(steps=4, batch_size=4, lr=1e-2)
CONFIG = {
    "model_type": "llama",
    "vocab_size": 1000,
    "hidden_size": HIDDEN,
    "intermediate_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A compiled directory with three kinds of rule, and a model's config."""
    folder = tmp_path_factory.mktemp("train")
    random = np.random.default_rng(0)
    rules = [attend("look", "e"), relate("axis", "a"), classify("kind", "c", attribute="kind", labels=("x", "y", "z"))]
    made = plan([*rules, weigh("more", "b", 2.0)], COLUMNS)
    splits = {"train": [random_batch(random, 40)], "valid": [random_batch(random, 12)]}
    write(folder / "data", random_recipe(), made, splits)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def run(project, settings=SETTINGS, watch=None, rules=True):
    dataset = load(project / "data", split="train")
    if not rules:
        dataset = dataset.with_plan(dataset.plan.model_copy(update={"rules": ()}))
    model = new_model(project / "config.json", dataset, settings.seed)
    supervised = train(dataset, model, settings, watch)
    return supervised, model


def losses(project, settings=SETTINGS, **options):
    found = []
    run(project, settings, lambda step, supervised, sums, rate: found.append((step, float(sums.loss), rate)), **options)
    return found


def command(*arguments):
    return CliRunner().invoke(mcd, ["train", *map(str, arguments)])


# --- the loop


def test_the_same_seed_gives_the_same_run(project):
    first, second = losses(project), losses(project)
    assert first == second
    assert first != losses(project, Settings(steps=4, batch_size=4, lr=1e-2, seed=1))


def test_four_micro_batches_are_one_batch(project):
    whole = losses(project, Settings(steps=3, batch_size=8, lr=1e-2))
    parts = losses(project, Settings(steps=3, batch_size=2, accumulate=4, lr=1e-2))
    assert [loss for _, loss, _ in parts] == pytest.approx([loss for _, loss, _ in whole], rel=1e-4)


def test_records_come_in_one_order_with_and_without_rules_and_each_once_per_epoch(project):
    dataset = load(project / "data", split="train")
    bare = dataset.with_plan(dataset.plan.model_copy(update={"rules": ()}))
    settings = Settings(steps=10, batch_size=4)
    order = [[batch.ids for step in step_batches(each, settings) for batch in step] for each in (dataset, bare)]
    assert order[0] == order[1]
    seen = [name for batch in order[0] for name in batch]
    assert sorted(seen) == sorted(row.id for row in dataset)


def test_the_rate_rises_along_a_line_and_falls_along_a_cosine():
    """10 steps, 2 of warm-up: 1/2, 2/2, then (1 + cos(pi k / 8)) / 2 for k = 0..7, which is 1/2 at k = 4."""
    settings = Settings(steps=10, warmup=0.2)
    found = [learning_rate(step, settings) for step in range(10)]
    assert found[:3] == [0.5, 1.0, 1.0]
    assert found[6] == pytest.approx(0.5)
    assert 0 < found[9] < 0.04


def test_without_rules_only_the_token_loss_is_left(project):
    found = []
    supervised, _ = run(project, watch=lambda *seen: found.append(summary(*seen[1:3], 0.0)), rules=False)
    assert all(entry["rules"] == {} and entry["loss"] == pytest.approx(entry["token"]) for entry in found)
    assert len(supervised.receipts) == 0


def test_evaluation_does_not_depend_on_the_size_of_a_batch_and_leaves_receipts_alone(project):
    supervised, _ = run(project)
    valid = load(project / "data", split="valid")
    before = supervised.receipts["look"]
    large, small = evaluate(supervised, valid, 1.0, batch_size=12), evaluate(supervised, valid, 1.0, batch_size=1)
    assert torch.allclose(large.rules, small.rules, rtol=1e-4)
    assert float(large.token) == pytest.approx(float(small.token), rel=1e-4)
    assert supervised.receipts["look"] == before
    assert supervised.training


def test_a_split_without_a_record_is_an_error(project, tmp_path):
    write(tmp_path / "data", random_recipe(), load(project / "data").plan, {"train": []})
    dataset = load(tmp_path / "data", split="train")
    with pytest.raises(Failure) as caught:
        train(dataset, new_model(project / "config.json", dataset, 0), SETTINGS)
    (found,) = caught.value.diagnostics
    assert (found.code.id, found.place.path) == ("MCD754", str(tmp_path / "data"))


def test_a_loss_that_is_no_number_stops_the_run(project, tmp_path):
    arguments = (project / "data", "--config", project / "config.json", "--steps", 4, "-o", tmp_path / "run")
    found = command(*arguments, "--batch-size", 4, "--lr", 1e30, "--log-every", 1, "--device", "cpu")
    assert found.exit_code == 1 and "MCD752" in found.stderr


# --- the command


def test_a_run_writes_model_probes_receipts_and_log(project, tmp_path):
    out = tmp_path / "run"
    arguments = (project / "data", "--config", project / "config.json", "--steps", 4, "-o", out)
    found = command(*arguments, "--batch-size", 4, "--log-every", 2, "--eval-every", 4, "--device", "cpu")
    assert found.exit_code == 0, found.output
    names = ["config.json", "model.safetensors", "probes.safetensors", "receipts.json", "summary.json", "train.jsonl"]
    assert [path.name for path in sorted(out.iterdir()) if path.name != "generation_config.json"] == names
    entries = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    assert [(entry["step"], entry.get("split")) for entry in entries] == [
        (1, None),
        (2, None),
        (4, None),
        (4, "valid"),
    ]
    counted = {"lr", "gradient_norm", "tokens", "tokens_per_second", "seconds"}
    assert set(entries[1]) == {"step", "time", "loss", "token", "rules", *counted}
    assert set(entries[0]) == {*entries[1], "inspected"}
    assert entries[1]["time"] == 0.25
    assert set(entries[1]["rules"]) == {"look", "axis", "kind", "more"}
    assert set(entries[1]["rules"]["look"]) == {"loss", "rows", "multiplier"}
    assert set(entries[0]["rules"]["look"]) == {*entries[1]["rules"]["look"], "gradient", "token_gradient", "cosine"}
    assert entries[1]["rules"]["more"]["loss"] is None
    receipts = json.loads((out / "receipts.json").read_text())
    assert {receipt["rule"] for receipt in receipts} == {"look", "axis", "kind", "more"}
    assert all(receipt["rows"] > 0 for receipt in receipts)
    assert load_file(out / "probes.safetensors")
    assert "4/4 " in found.stderr
    assert "look" in found.stdout


def test_the_saved_model_is_the_trained_one(project, tmp_path):
    supervised, model = run(project)
    save(tmp_path, model, supervised)
    assert torch.equal(load_file(tmp_path / "model.safetensors")["model.norm.weight"], model.model.norm.weight)


def refused(project, *arguments, config="config.json", data="data"):
    found = command(project / data, "--config", project / config, "--steps", 1, *arguments)
    assert "Traceback" not in found.output
    return found.exit_code, found.stderr


def test_a_directory_that_holds_something_is_refused(project, tmp_path):
    (tmp_path / "train.jsonl").write_text("")
    code, text = refused(project, "-o", tmp_path)
    assert code == 1 and "MCD753" in text and "holds an earlier run" in text
    (tmp_path / "thesis.txt").write_text("x")
    code, text = refused(project, "-o", tmp_path, "--overwrite")
    assert code == 1 and "`thesis.txt`, which no run wrote" in text
    assert (tmp_path / "thesis.txt").exists() and (tmp_path / "train.jsonl").exists()


def test_overwrite_empties_the_directory_of_an_earlier_run(tmp_path):
    (tmp_path / "train.jsonl").write_text("")
    (tmp_path / "model-00001-of-00002.safetensors").write_text("")
    claim(tmp_path, overwrite=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "MCD750"),
        ('{"model_type": "nothing"}', "MCD750"),
        ("[]", "MCD750"),
        (json.dumps({**CONFIG, "max_position_embeddings": 8}), "MCD751"),
        (json.dumps({**CONFIG, "num_hidden_layers": 3}), "MCD701"),
    ],
)
def test_a_config_that_does_not_fit_is_named(project, tmp_path, text, code):
    (project / "other.json").write_text(text)
    status, said = refused(project, "-o", tmp_path / "run", config="other.json")
    assert status == 1 and code in said


def test_a_config_that_is_not_there(project, tmp_path):
    status, said = refused(project, "-o", tmp_path / "run", config="nowhere.json")
    assert status == 1 and "MCD750" in said
    assert not (tmp_path / "run").exists()


def test_no_dataset_and_no_such_split(project, tmp_path):
    assert "MCD601" in refused(project, "-o", tmp_path / "run", data="nowhere")[1]
    assert "MCD611" in refused(project, "-o", tmp_path / "run", "--split", "trian")[1]


@pytest.mark.parametrize("arguments", [("--warmup", "150%"), ("--device", "tpus"), ("--steps", "0"), ("--lr", "0")])
def test_wrong_usage_exits_with_2(project, tmp_path, arguments):
    assert refused(project, "-o", tmp_path / "run", *arguments)[0] == 2
