"""Measures: their formulae against plain Python, the files beside the shards, and what is said where they do not fit."""

from __future__ import annotations

import json
import math
import re
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner

from mcd.cli.main import mcd
from mcd.compiler.manifest import file_digest
from mcd.compiler.plan import LiveTerm, MeasureTerm
from mcd.dsl.diagnostics import Failure
from mcd.dsl.vocabulary import MEASURES as WORDS
from mcd.runtime.collate import Collator
from mcd.runtime.dataset import load
from mcd.runtime.measures import MEASURES, MeasureWriter
from mcd.runtime.measures.entropy import entropy
from mcd.runtime.measures.excess_loss import excess_loss
from mcd.runtime.measures.loss import loss
from mcd.runtime.measures.take import take
from mcd.runtime.run import new_model

from .datasets import BASE, COLUMNS, SPLIT, plan, random_batch, random_recipe, weigh, write
from .test_train import CONFIG

LIVE, REFERENCE = LiveTerm(live="loss"), MeasureTerm(file="ref", column="loss")


# --- formulae --------------------------------------------------------------------------------------------------------

LOGITS = torch.tensor([[[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]]]).log()
IDS = torch.tensor([[0, 1, 0]])


def test_loss_by_hand() -> None:
    """Token 1 has p = 3/4: 0.287682; token 0 after it p = 1/2: 0.693147."""
    assert loss(LOGITS, IDS)[0].tolist() == pytest.approx([0, 0.287682, 0.693147], abs=1e-6)


def test_entropy_by_hand() -> None:
    """Of (1/4, 3/4): 1/4 ln 4 + 3/4 ln 4/3 = 0.346574 + 0.215762 = 0.562335; of (1/2, 1/2) ln 2. A token that cannot come: 0."""
    assert entropy(LOGITS)[0].tolist() == pytest.approx([0, 0.562335, 0.693147], abs=1e-6)
    assert entropy(torch.tensor([[[0.0, -math.inf], [0.0, 0.0]]]))[0].tolist() == [0, 0]


def test_excess_loss_by_hand_is_above_0_where_the_reference_is_better() -> None:
    """The reference gives the tokens 7/8 and 1/4: ln (7/8 / 3/4) = 0.154151, ln (1/4 / 1/2) = -0.693147."""
    reference = torch.tensor([[[0.125, 0.875], [0.25, 0.75], [0.5, 0.5]]]).log()
    assert excess_loss(LOGITS, reference, IDS)[0].tolist() == pytest.approx([0, 0.154151, -0.693147], abs=1e-6)


def test_measures_agree_with_plain_python() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, reference = (torch.randn(2, 5, 7, generator=generator) * 3 for _ in range(2))
    ids = torch.randint(0, 7, (2, 5), generator=generator)

    def p(scores, b, t):
        total = sum(math.exp(x) for x in scores[b, t].tolist())
        return [math.exp(x) / total for x in scores[b, t].tolist()]

    found = {"loss": loss(logits, ids), "entropy": entropy(logits), "excess_loss": excess_loss(logits, reference, ids)}
    for b in range(2):
        for t in range(1, 5):
            now, then, v = p(logits, b, t - 1), p(reference, b, t - 1), ids[b, t].item()
            expected = {"loss": -math.log(now[v]), "entropy": -sum(q * math.log(q) for q in now)}
            expected["excess_loss"] = math.log(then[v]) - math.log(now[v])
            for name, value in expected.items():
                assert found[name][b, t].item() == pytest.approx(value, abs=1e-5)


def test_the_command_takes_words_of_the_language() -> None:
    assert set(MEASURES) <= set(WORDS)


# --- a dataset with measures -----------------------------------------------------------------------------------------


def scored(id="hard", score=(LIVE, REFERENCE, "-"), **options):
    given = {"factor": None, "field": None, "only": False, "score": score}
    return weigh(id, "tokens").model_copy(update={**given, **options, **BASE})


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two splits of several shards, parts of split records among their rows, and a measure of a random model."""
    folder = tmp_path_factory.mktemp("measures")
    random = np.random.default_rng(0)
    splits = {"train": [random_batch(random, 7), random_batch(random, 5)], "valid": [random_batch(random, 6, size=20)]}
    write(folder / "data", random_recipe(9, SPLIT), plan([scored()], COLUMNS, context=9), splits)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"max_position_embeddings": 16}))
    dataset = load(folder / "data")
    for seed, name in ((1, "model"), (2, "reference")):
        new_model(folder / "config.json", dataset, seed).save_pretrained(folder / name)
    return folder


def command(project, *arguments):
    found = CliRunner().invoke(mcd, ["measure", str(project / "data"), *map(str, arguments)])
    return found.exit_code, found.output


@pytest.fixture(scope="module")
def measured(project):
    code, output = command(project, "--model", project / "model", "--reference", project / "reference", "-o", "ref")
    assert code == 0, output
    return project


def test_every_token_of_every_row_has_its_own_number(measured):
    """Row by row, without padding and batches: what a model of float64 says of each token; NaN where it has no loss."""
    dataset = load(measured / "data")
    bare = dataset.with_plan(dataset.plan.model_copy(update={"rules": ()}))
    models = [new_model(measured / "config.json", dataset, seed).double().eval() for seed in (1, 2)]
    dataset.read_measures()
    for row in bare:
        batch = Collator(bare.plan)([row])
        losses, entropies = [], []
        for model in models:
            logits = model(input_ids=batch.input_ids).logits[0].log_softmax(-1)
            losses.append([0.0, *(-logits[t - 1, v].item() for t, v in enumerate(batch.input_ids[0].tolist()) if t)])
            entropies.append([0.0, *(-(each.exp() * each).sum().item() for each in logits[:-1])])
        expected = {
            "loss": losses[0],
            "entropy": entropies[0],
            "excess_loss": [a - b for a, b in zip(*losses, strict=True)],
        }
        for name, values in expected.items():
            chunk = next(chunk for chunk in load_columns(measured, name) if (chunk.shard, chunk.number) == at(row))
            lists = chunk.measures["ref", name]
            mine = lists.values[lists.offsets[row.at] : lists.offsets[row.at + 1]]
            there = batch.scored[0].numpy()
            assert np.isnan(mine[~there]).all()
            np.testing.assert_allclose(mine[there], np.array(values)[there], atol=2e-5)


def at(row):
    return row.chunk.shard, row.chunk.number


def load_columns(project, name):
    dataset = load(project / "data")
    dataset = dataset.with_plan(dataset.plan.model_copy(update={"rules": (scored(score=(term(name),)),)}))
    dataset.read_measures()
    return dataset.chunks


def term(column, file="ref"):
    return MeasureTerm(file=file, column=column)


def test_a_batch_holds_what_its_rows_have_whatever_their_order(measured):
    """Rows of both splits, mixed: measure [0, record, position] is the number of that token, padding has none."""
    dataset = load(measured / "data")
    rows = dataset.rows(np.random.default_rng(1).permutation(len(dataset)))
    batch = Collator(dataset.plan)(rows)
    for b, row in enumerate(rows):
        lists = row.chunk.measures["ref", "loss"]
        mine = lists.values[lists.offsets[row.at] : lists.offsets[row.at + 1]]
        np.testing.assert_array_equal(batch.measures[0, b, : len(mine)].numpy(), mine)
        assert batch.measures[0, b, len(mine) :].isnan().all()


def test_the_file_is_read_with_pyarrow_alone_and_says_what_made_it(measured):
    out = measured / "data"
    info = json.loads((out / "measures/ref.json").read_text())
    table = pa.ipc.open_file(str(out / "measures/ref.arrow")).read_all()
    assert table.column_names == ["id", "part", "loss", "entropy", "excess_loss"]
    shards = [pa.ipc.open_file(str(out / shard["path"])).read_all() for shard in info["shards"]]
    whole = pa.concat_tables(shards)
    assert table.column("id") == whole.column("id")
    assert [len(x) for x in table.column("loss").to_pylist()] == [len(x) for x in whole.column("input_ids").to_pylist()]
    assert info["columns"]["loss"].startswith("loss of model ")
    assert info["columns"]["loss"].split()[-1] != info["columns"]["excess_loss"].split()[-1]


def test_the_same_command_gives_the_same_bytes(measured):
    first = (measured / "data/measures/ref.arrow").read_bytes()
    more = ("--reference", measured / "reference", "-o", "twin")
    assert command(measured, "--model", measured / "model", *more)[0] == 0
    assert (measured / "data/measures/twin.arrow").read_bytes() == first


def test_batches_of_another_size_give_the_same_numbers(measured):
    dataset = load(measured / "data")
    model = new_model(measured / "config.json", dataset, 1)
    taken = [take(dataset, "sized", {"entropy": ""}, model, batch_size=size)["entropy"] for size in (1, 100)]
    assert taken[0].tokens == taken[1].tokens > 20
    assert taken[0].mean == pytest.approx(taken[1].mean, rel=1e-5)


def test_a_dataset_in_another_process_reads_them_again(measured):
    dataset = load(measured / "data", split="train")
    kind, arguments = dataset.__reduce__()
    assert Collator(dataset.plan)(list(kind(*arguments))).measures.shape[0] == 1


# --- the command -----------------------------------------------------------------------------------------------------


def test_without_a_reference_what_compares_is_left_out(project):
    code, output = command(project, "--model", project / "model", "-o", "plain")
    assert code == 0
    assert [line.split()[0] for line in output.splitlines()[1:]] == ["loss", "entropy"]
    code, output = command(project, "--model", project / "model", "-o", "one", "--measure", "entropy")
    assert (code, [line.split()[0] for line in output.splitlines()[1:]]) == (0, ["entropy"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", "x", "--measure", "excess_loss"], 2, "give `--reference`"),
        (["-o", "x", "--measure", "loss", "--reference", "model"], 2, "`--reference` is for `excess_loss`"),
        (["-o", "x", "--measure", "grad_norm"], 2, "'grad_norm' is not one of 'loss', 'entropy', 'excess_loss'"),
        (["-o", "../x"], 2, "cannot name a file"),
        (["-o", "taken"], 1, "MCD731"),
    ],
)
def test_what_the_command_refuses(project, arguments, code, message):
    (project / "data/measures").mkdir(exist_ok=True)
    (project / "data/measures/taken.json").touch()
    arguments = [project / argument if argument == "model" else argument for argument in arguments]
    found = command(project, "--model", project / "model", *arguments)
    assert found[0] == code and message in found[1], found[1]
    (project / "data/measures/taken.json").unlink()


def broken_model(folder, change):
    shutil.copytree(folder / "model", folder / "broken", dirs_exist_ok=True)
    change(folder / "broken")
    return folder / "broken"


def edited(**values):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "MCD732"),
        (lambda folder: (folder / "config.json").write_text("{"), "MCD732"),
        (lambda folder: (folder / "config.json").unlink(), "MCD732"),
        (edited(max_position_embeddings=4), "MCD751"),
    ],
)
def test_a_model_that_cannot_be_used(project, change, message, tmp_path):
    shutil.copytree(project / "model", tmp_path / "model")
    change(tmp_path / "model")
    code, output = command(project, "--model", tmp_path / "model", "-o", "never")
    assert code == 1 and message in output, output
    assert not list((project / "data").glob("measures/*never*"))


def test_a_model_of_a_smaller_vocabulary(project, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": 3}))
    new_model(tmp_path / "config.json", load(project / "data"), 0).save_pretrained(tmp_path / "model")
    code, output = command(project, "--model", tmp_path / "model", "-o", "never")
    assert code == 1 and "has a vocabulary of 3" in output
    assert not list((project / "data").glob("measures/*never*"))


# --- what does not fit -----------------------------------------------------------------------------------------------


def failure_of(directory, *rules, order=None):
    dataset = load(directory)
    dataset = dataset.with_plan(dataset.plan.model_copy(update={"rules": rules, "order": order}))
    with pytest.raises(Failure) as caught:
        dataset.rows([0])
    return caught.value.diagnostics


@pytest.fixture
def copied(measured, tmp_path):
    shutil.copytree(measured / "data", tmp_path / "data")
    return tmp_path / "data"


def test_a_measure_that_was_never_taken_is_named_once_with_the_command(copied):
    rules = [scored("one", (term("loss", "gone"),)), scored("two", (term("excess_loss", "gone"), LIVE, "-"))]
    (found,) = failure_of(copied, *rules)
    assert (found.code.id, found.message) == ("MCD650", "`data` has no measure `gone`, which rule `one` reads")
    assert found.help == f"take it: `mcd measure {copied} --model MODEL --reference REFERENCE -o gone`"


def test_a_column_that_the_file_lacks(copied):
    (found,) = failure_of(copied, order=(term("grad_norm"),))
    assert found.code.id == "MCD651"
    assert found.message.startswith("measure `ref` has no column `grad_norm`, which `order` reads; it has ")
    assert found.help == "`mcd measure` takes loss, entropy, excess_loss; `grad_norm` comes by a `MeasureWriter`"


def test_other_shards_than_those_that_were_measured(copied, tmp_path):
    splits = {"train": [random_batch(np.random.default_rng(9), 7)]}
    write(tmp_path / "other", random_recipe(9, SPLIT), plan([scored()], COLUMNS, context=9), splits)
    shutil.copytree(copied / "measures", tmp_path / "other/measures")
    (found,) = failure_of(tmp_path / "other", scored())
    assert found.code.id == "MCD652" and "mcd measure" in found.help


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("ref.arrow", lambda data: data[:-1], "MCD603"),
        ("ref.arrow", lambda data: data[:700] + bytes([data[700] ^ 1]) + data[701:], "MCD604"),
        ("ref.json", lambda data: b"{", "MCD607"),
        ("ref.json", lambda data: data.replace(b'"format": 1', b'"format": 2'), "MCD606"),
        ("ref.json", lambda data: data.replace(b'"batches": 1', b'"batches": 2', 1), "MCD608"),
        ("ref.json", lambda data: data.replace(b'"batches": 1', b'"batches": 999999999999', 1), "MCD608"),
        ("ref.json", lambda data: data.replace(b'"batches": 1', b'"batches": -1', 1), "MCD607"),
        ("ref.json", lambda data: data.replace(b"measures/ref.arrow", b"../../ref.arrow"), "MCD607"),
    ],
)
def test_a_measure_that_is_not_as_it_was_written(copied, name, change, code):
    path = copied / "measures" / name
    data = (
        re.sub(rb'"checksum": "\w+"', b'"checksum": null', path.read_bytes())
        if name == "ref.json"
        else path.read_bytes()
    )
    path.write_bytes(change(data))
    assert failure_of(copied, scored())[0].code.id == code


def test_a_file_of_other_types(copied):
    dataset = load(copied)
    schema = pa.schema([("loss", pa.list_(pa.float64()))])
    path = copied / "measures/ref.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema):
        pass
    from_file(copied, path)
    assert failure_of(copied, *dataset.plan.rules)[0].code.id == "MCD608"


def from_file(directory, path):
    """Let the description say of the file what it is now."""
    info = json.loads((directory / "measures/ref.json").read_text())
    digest, size = file_digest(path)
    info["file"] |= {"sha256": digest, "bytes": size}
    (directory / "measures/ref.json").write_text(json.dumps(info | {"checksum": None}))


def test_a_writer_that_is_stopped_leaves_what_was_there(copied):
    before = (copied / "measures/ref.arrow").read_bytes()
    dataset = load(copied)
    chunk, shard = dataset.chunks[0], dataset.manifest.shards[0]
    with pytest.raises(RuntimeError), MeasureWriter(copied, "ref", {"loss": "by hand"}) as writer:
        writer.write(shard, chunk, {"loss": np.zeros(len(chunk.tokens.used), np.float32)})
        raise RuntimeError
    assert (copied / "measures/ref.arrow").read_bytes() == before
    assert sorted(path.name for path in (copied / "measures").iterdir() if path.name.startswith(".")) == []


def test_a_measure_by_hand_is_read_as_one_of_the_command(copied):
    dataset = load(copied)
    shards = {shard.path: shard for shard in dataset.manifest.shards}
    with MeasureWriter(copied, "own", {"influence": "by hand"}) as writer:
        for chunk in dataset.chunks:
            writer.write(shards[chunk.shard], chunk, {"influence": np.arange(len(chunk.tokens.used), dtype=np.float32)})
    plan = dataset.plan.model_copy(update={"rules": (scored(score=(term("influence", "own"),)),)})
    batch = Collator(plan)(dataset.with_plan(plan).rows([0]))
    assert batch.measures[0, 0].tolist() == list(range(batch.input_ids.shape[1]))
