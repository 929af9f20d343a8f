"""Teachers from a spec on disk to a loss: stored states and those that are read along, against the teacher's own."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import load_file
from torch.nn import functional

import mcd
from mcd.cli import compile as compile_command
from mcd.cli.main import mcd as commands
from mcd.compiler.compile import compile_program
from mcd.dsl.check import check
from mcd.dsl.diagnostics import Failure
from mcd.runtime.teach import Teaching
from mcd.runtime.teachers import TeacherModel

from .projects import WORDS, checked, project
from .teachers import states, write_letters, write_teacher
from .test_end_to_end import gpt2, llama

SOURCE = """source s = jsonl("data.jsonl") { id = .id  split = .split  text = "{.text}" }
span cat = phrases("cat", "a red bird")
"""
RECORDS = [
    {"id": "a", "split": "train", "text": "the cat saw a red bird ."},
    {"id": "b", "split": "train", "text": "a dog and the cat ran off because of rain ."},
    {"id": "c", "split": "valid", "text": "it ran"},
    {"id": "d", "split": "train", "text": "the cat"},
]
CATS = {"a": [(1, 2), (3, 6)], "b": [(4, 5)], "d": [(1, 2)]}
IDS = {record["id"]: [WORDS.index(word) for word in record["text"].split()] for record in RECORDS}


def compiled(path, out, teach=True):
    return compile_program(checked(path), out, teach=Teaching("cpu") if teach else None)


def batch_of(dataset, split=None):
    rows = list(dataset if split is None else dataset.split(split))
    return mcd.Collator(dataset.plan)(rows)


def failure(path, out, teach=True):
    with pytest.raises(Failure) as raised:
        compiled(path, out, teach)
    (found,) = raised.value.diagnostics
    return found


def grads(loss, model):
    found = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, allow_unused=True)
    return [grad for grad in found if grad is not None]


@pytest.mark.parametrize(
    ("kind", "layer"), [("llama", 1), ("llama", 3), ("llama", "final"), ("gpt2", 0), ("gpt2", "final")]
)
def test_stored_states_give_what_those_read_along_give(tmp_path, kind, layer):
    teacher = write_teacher(tmp_path / "big", kind)
    spec = f"""teacher big {{ weights = "big" }}
teacher live {{ weights = "big"  run = online }}
{SOURCE}signal stored: tokens {{ layers = 2  toward = big.hidden(layer: {layer})  dtype = float32 }}
signal half: tokens {{ layers = 2  toward = big.hidden(layer: {layer}) }}
signal along: tokens {{ layers = 2  toward = live.hidden(layer: {layer}) }}
signal mean: cat {{ layers = [1, 3]  toward = big.hidden(layer: {layer})  dtype = float32  loss = cosine  pool = mean }}
signal mean_along: cat {{ layers = [1, 3]  toward = live.hidden(layer: {layer})  loss = cosine  pool = mean  per = row }}
"""
    compiled(project(tmp_path, spec, RECORDS), tmp_path / "out")
    dataset = mcd.load(tmp_path / "out")
    model = llama()
    with mcd.supervise(model, dataset) as supervised:
        out = supervised(batch_of(dataset), time=0.0)
    for stored, along in (("stored", "along"), ("mean", "mean_along")):
        torch.testing.assert_close(out.rules[stored], out.rules[along], rtol=1e-5, atol=1e-6)
        for a, b in zip(grads(out.rules[stored], model), grads(out.rules[along], model), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(out.rules["half"], out.rules["along"], rtol=1e-2, atol=1e-3)
    errors = [(states(model, ids, 2) - states(teacher, ids, layer)).square().mean(-1) for ids in IDS.values()]
    torch.testing.assert_close(out.rules["along"], torch.cat(errors).mean(), rtol=1e-4, atol=1e-5)
    cosines = [
        1
        - functional.cosine_similarity(
            states(model, IDS[id], at)[a:b].mean(0), states(teacher, IDS[id], layer)[a:b].mean(0), dim=0
        )
        for id, spans in CATS.items()
        for a, b in spans
        for at in (1, 3)
    ]
    torch.testing.assert_close(out.rules["mean"], torch.stack(cosines).mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("overflow", ["truncate", "split(stride: 1)", "drop"])
def test_texts_longer_than_the_context(tmp_path, overflow):
    """The teacher reads what the model reads, in parts; what is repeated is no row."""
    write_teacher(tmp_path / "big")
    spec = f"""teacher big {{ weights = "big" }}
teacher live {{ weights = "big"  run = online }}
{SOURCE}signal stored: tokens {{ layers = 2  toward = big.hidden(layer: 2)  dtype = float32  per = record }}
signal along: tokens {{ layers = 2  toward = live.hidden(layer: 2)  per = record }}
"""
    path = project(tmp_path, spec, RECORDS)
    path.write_text(path.read_text().replace("context = 16", f"context = 4  overflow = {overflow}"))
    compiled(path, tmp_path / "out")
    dataset = mcd.load(tmp_path / "out")
    with mcd.supervise(gpt2().eval(), dataset) as supervised:
        out = supervised.eval()(batch_of(dataset), time=0.0)
    torch.testing.assert_close(out.rules["stored"], out.rules["along"], rtol=1e-5, atol=1e-6)
    assert (
        out.rows["stored"]
        == out.rows["along"]
        == sum(dataset.manifest.rules["stored"].splits[split]["rows"] for split in ("train", "valid"))
    )


@pytest.mark.parametrize(
    "kind", ["bert", *(pytest.param(k, marks=pytest.mark.slow) for k in ("roberta", "modernbert"))]
)
def test_an_encoder_with_a_tokenizer_of_its_own_and_another_width(tmp_path, kind):
    """`the cat saw a red bird .` in letters, with `at` as one token and one added on either side: [ t h e c at s a w a r e d b i
    r d . ]: `cat` goes with the mean of places 4 and 5, `a red bird` with those of 9, 10..12 and 13..16, a mean per token.
    """
    teacher = write_teacher(tmp_path / "reader", kind)
    write_letters(tmp_path / "reader" / "tokenizer.json", "at", around=True)
    spec = f"""teacher reader {{ weights = "reader" }}
{SOURCE}signal group: cat {{ layers = 2  toward = reader.hidden(layer: 2)  through = mlp(hidden: 5)  pool = mean }}
signal each: cat {{ layers = 2  toward = reader.hidden(layer: 1)  through = linear  dtype = float32 }}
"""
    compiled(project(tmp_path, spec, RECORDS), tmp_path / "out")
    dataset = mcd.load(tmp_path / "out", split="train")
    batch = mcd.Collator(dataset.plan)(list(dataset))
    with mcd.supervise(llama(), dataset) as supervised:
        names = [term.rules[0].id for term in supervised.terms]
        out = supervised(batch, time=0.0)
    group, each = (batch.hidden[names.index(name)] for name in ("group", "each"))
    letters = "abcdefghijklmnopqrstuvwxyz.,0123456789"
    ids = {char: n for n, char in enumerate((*letters, "at", "[UNK]", "[", "]"))}
    tokens = ["[", *"thec", "at", *"sawaredbird.", "]"]
    read = {layer: states(teacher, [ids[token] for token in tokens], layer) for layer in (1, 2)}
    cat = [read[layer][4:6].mean(0) for layer in (1, 2)]
    bird = [[read[layer][9], read[layer][10:13].mean(0), read[layer][13:17].mean(0)] for layer in (1, 2)]
    torch.testing.assert_close(each.vector[:4], torch.stack([cat[0], *bird[0]]), rtol=1e-4, atol=1e-5)
    expected = torch.stack([cat[1], torch.stack(bird[1]).mean(0)])
    torch.testing.assert_close(group.vector[:2], expected, rtol=2e-3, atol=2e-3)
    assert out.rows == {"group": 4, "each": 6}
    assert out.rules["group"] > 0 and dataset.manifest.rules["each"].splits["train"] == {
        "matched": 4, "rows": 6, "unpaired": 0,
    }  # fmt: skip


def test_tokens_without_a_partner_are_counted_and_left_out(tmp_path):
    """A causal teacher reads whole sentences up to `.` as one token each: only the last token of one has a partner."""
    write_teacher(tmp_path / "big", "llama")
    write_letters(tmp_path / "big" / "tokenizer.json")
    content = json.loads((tmp_path / "big" / "tokenizer.json").read_text())
    content["pre_tokenizer"] = None
    content["model"] = {"type": "WordLevel", "vocab": {"the cat": 1, "it ran": 2, "[UNK]": 0}, "unk_token": "[UNK]"}
    (tmp_path / "big" / "tokenizer.json").write_text(json.dumps(content))
    spec = f"""teacher big {{ weights = "big" }}
{SOURCE}signal all: tokens {{ layers = 2  toward = big.hidden(layer: 2) }}
signal spans: cat {{ layers = 2  toward = big.hidden(layer: 2)  pool = mean }}
signal first: cat {{ layers = 2  toward = big.hidden(layer: 2)  pool = first }}
"""
    path = project(tmp_path, spec, RECORDS)
    found = compiled(path, tmp_path / "out")
    assert found.manifest.rules["all"].splits["train"]["unpaired"] == 17  # all but the last of each of three records
    assert found.manifest.rules["all"].splits["train"]["rows"] == 3
    assert found.manifest.rules["all"].splits["valid"] == {"matched": 2, "rows": 1, "unpaired": 1}
    assert found.manifest.rules["spans"].splits["train"]["rows"] == 1  # `cat` in `the cat`
    said = [item.message for item in found.warnings if "`all`" in item.message]
    assert said == ["`all`: 18 of 22 rows without a token of the teacher"]
    dataset = mcd.load(tmp_path / "out", split="train")
    with mcd.supervise(llama(), dataset) as supervised:
        out = supervised(mcd.Collator(dataset.plan)(list(dataset)), time=0.0)
    assert out.rows == {"all": 3, "spans": 1, "first": 1}
    path.write_text(
        path.read_text().replace("toward = big.hidden(layer: 2) }", "toward = big.hidden(layer: 2)  lost = error }")
    )
    with pytest.raises(Failure) as raised:
        compiled(path, tmp_path / "out")
    assert [(each.code.id, each.message) for each in raised.value.diagnostics if each.code.id == "MCD581"] == [
        ("MCD581", said[0] + " (`lost = error`)")
    ]


SPEC = f"""teacher big {{ weights = "big" }}
{SOURCE}signal copy: cat {{ layers = 2  toward = big.hidden(layer: 2) }}
"""


def inodes(out):
    return {path.relative_to(out).as_posix(): path.stat().st_ino for path in out.rglob("*.arrow")}


def test_another_layer_computes_its_states_alone(tmp_path):
    write_teacher(tmp_path / "big")
    path, out = project(tmp_path, SPEC, RECORDS), tmp_path / "out"
    first, before = compiled(path, out), inodes(tmp_path / "out")
    assert not first.reused
    path.write_text(path.read_text() + "signal more: cat { layers = 3  toward = big.hidden(layer: 1)  pool = mean }\n")
    again, after = compiled(path, out), inodes(out)
    assert again.reused and before.items() <= after.items() and len(after) == 6
    path.write_text(path.read_text().replace("layer: 2", "layer: 3"))
    changed = compiled(path, out)
    assert changed.reused and set(changed.manifest.targets) == {"big@1:float16", "big@3:float16"}
    assert len(inodes(out).items() & after.items()) == 4  # two shards, and the states of layer 1
    path.write_text(path.read_text().replace("layers = 2", "layers = 1").replace("signal copy", "signal renamed"))
    assert compiled(path, out, teach=False).reused  # the plan alone: nothing that runs a teacher is asked for


def test_another_teacher_and_other_shards_compute_them_again(tmp_path):
    write_teacher(tmp_path / "big")
    path, out = project(tmp_path, SPEC, RECORDS), tmp_path / "out"
    one = compiled(path, out).manifest.targets["big@2:float16"]
    write_teacher(tmp_path / "big", scale=0.4)
    two = compiled(path, out).manifest.targets["big@2:float16"]
    path.write_text(path.read_text().replace("context = 16", "context = 4"))
    three = compiled(path, out).manifest.targets["big@2:float16"]
    assert len({entry.digest for entry in (one, two, three)}) == 3
    assert len(inodes(out)) == 4


def test_states_come_out_the_same(tmp_path):
    write_teacher(tmp_path / "big")
    path = project(tmp_path, SPEC, RECORDS)
    one, two = (compiled(path, tmp_path / name).manifest for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("own", [False, True])
def test_a_centroid_is_the_mean_over_spans(tmp_path, own):
    teacher = write_teacher(tmp_path / "big", "gpt2")
    if own:
        write_letters(tmp_path / "big" / "tokenizer.json")
    spec = f"""teacher big {{ weights = "big"  run = {"cached" if own else "online"} }}
{SOURCE}concept animal {{ spans = cat  anchor = centroid(big, layer: 2) }}
signal pull: cat {{ layers = 2  toward = animal.anchor }}
"""
    path, out = project(tmp_path, spec, RECORDS), tmp_path / "out"
    if own:
        path.write_text(path.read_text().replace("context = 16", "context = 30"))
    compiled(path, out)
    found = load_file(out / "anchors.safetensors")["animal"]
    means = []
    for id, spans in CATS.items():
        text = next(record["text"] for record in RECORDS if record["id"] == id)
        words = text.split()
        letters = "abcdefghijklmnopqrstuvwxyz.,0123456789"
        ids = [letters.index(char) for char in "".join(words)] if own else IDS[id]
        read = states(teacher, ids[:32], 2)
        for a, b in spans:
            ends = [len("".join(words[: at + 1])) - 1 for at in range(a, b)]  # the last letter of each word
            means.append((read[ends] if own else read[a:b]).mean(0))
    mean = torch.stack(means).mean(0)
    np.testing.assert_allclose(found, (mean / mean.norm()).numpy(), rtol=1e-4, atol=1e-5)
    path.write_text(path.read_text().replace("layers = 2  toward", "layers = 3  toward"))
    assert compiled(path, out, teach=False).reused
    np.testing.assert_array_equal(load_file(out / "anchors.safetensors")["animal"], found)
    assert mcd.load(out).plan.anchors == {"animal": "centroid(big, layer: 2)"}


def test_a_state_beyond_float16_is_an_error_that_names_it(tmp_path):
    model = write_teacher(tmp_path / "big", "gpt2")
    model.transformer.wte.weight.data[WORDS.index("bird")] = 70000.0
    model.save_pretrained(tmp_path / "big")
    path = project(tmp_path, SPEC.replace("layer: 2", "layer: 0"), RECORDS)
    found = failure(path, tmp_path / "out")
    assert found.code.id == "MCD641" and found.place.text == "big"
    assert found.message.startswith(
        "teacher `big`, layer 0: 1 states do not fit float16, the first in record `a` with 7000"
    )
    assert found.help == "write `dtype = float32` in `copy`"
    assert not (tmp_path / "out").exists()
    path.write_text(path.read_text().replace("layer: 0)", "layer: 0)  dtype = float32"))
    compiled(path, tmp_path / "out")
    model.transformer.wte.weight.data[WORDS.index("bird")] = torch.nan
    model.save_pretrained(tmp_path / "big")
    found = failure(path, tmp_path / "out")
    assert "do not fit float32, the first in record `a` with nan" in found.message and found.help is None


def test_stored_states_are_held_against_what_was_written(tmp_path):
    write_teacher(tmp_path / "big")
    out = tmp_path / "out"
    manifest = compiled(project(tmp_path, SPEC, RECORDS), out).manifest
    (target,) = manifest.targets.values()
    file = out / target.files[0].path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(Failure, match="MCD604"):
        mcd.load(out)
    file.unlink()
    with pytest.raises(Failure, match="MCD602"):
        mcd.load(out)
    text = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(text | {"targets": {}, "checksum": None}))
    with pytest.raises(Failure, match="MCD642 `out` has no states of a teacher `big@2:float16`"):
        mcd.load(out)


def test_a_teacher_that_cannot_be_run_while_compiling(tmp_path, monkeypatch):
    write_teacher(tmp_path / "big")
    path = project(tmp_path, SPEC, RECORDS)
    found = failure(path, tmp_path / "out", teach=False)
    assert found.code.id == "MCD640" and found.place.text == "big"

    def missing(*_):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(compile_command, "import_module", missing)
    result = CliRunner().invoke(commands, ["compile", str(path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "error[MCD640]: teacher `big` is run while compiling, which needs torch" in result.stderr
    assert "pip install 'mcd-lang[train]'" in result.stderr


def test_a_mean_over_nothing(tmp_path):
    write_teacher(tmp_path / "big")
    spec = f"""teacher big {{ weights = "big" }}
{SOURCE}concept none {{ spans = phrases("k1")  anchor = centroid(big, layer: 2) }}
signal pull: cat {{ layers = 2  toward = none.anchor }}
"""
    found = failure(project(tmp_path, spec, RECORDS), tmp_path / "out")
    assert (found.code.id, found.place.text) == ("MCD643", "none")
    assert found.message == "the anchor of `none` is a mean with no span in split `train`; a direction needs one"


def test_a_vocabulary_too_small_for_the_tokens(tmp_path):
    write_teacher(tmp_path / "big", vocab_size=8)
    found = failure(project(tmp_path, SPEC, RECORDS), tmp_path / "out")
    assert (found.code.id, found.place.text) == ("MCD432", "big")
    assert found.message == f"the tokenizer has {len(WORDS)} tokens, teacher `big` a vocabulary of 8"


def test_files_that_give_no_model(tmp_path):
    write_teacher(tmp_path / "big")
    path = project(tmp_path, SPEC, RECORDS)
    weights = tmp_path / "big" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    found = failure(path, tmp_path / "out")
    assert found.code.id == "MCD720" and found.message.startswith("`big` gives no model for teacher `big`: ")
    write_teacher(tmp_path / "big", num_hidden_layers=2)
    config = json.loads((tmp_path / "big" / "config.json").read_text())
    (tmp_path / "big" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    found = failure(path, tmp_path / "out")
    assert found.code.id == "MCD720" and "`big` lacks weights of teacher `big`: `model.layers.2." in found.message
    (tmp_path / "big" / "config.json").write_text(json.dumps(config | {"hidden_size": 16}))
    path.write_text(path.read_text().replace("layer: 2)", "layer: 2)  through = linear"))
    assert failure(path, tmp_path / "out").code.id == "MCD720"


def test_weights_in_several_files(tmp_path):
    """As transformers cuts large models; an index that names a file elsewhere is refused."""
    teacher = write_teacher(tmp_path / "big", "gpt2")
    path = project(tmp_path, SPEC, RECORDS)
    whole = compiled(path, tmp_path / "whole").manifest.targets["big@2:float16"]
    (tmp_path / "big" / "model.safetensors").unlink()
    teacher.save_pretrained(tmp_path / "big", max_shard_size=1000)
    index = tmp_path / "big" / "model.safetensors.index.json"
    assert len(set(json.loads(index.read_text())["weight_map"].values())) > 1
    parts = compiled(path, tmp_path / "parts").manifest.targets["big@2:float16"]
    assert [file.sha256 for file in parts.files] == [file.sha256 for file in whole.files]
    assert parts.digest != whole.digest
    content = json.loads(index.read_text())
    moved = {key: f"../big/{name}" for key, name in content["weight_map"].items()}
    index.write_text(json.dumps(content | {"weight_map": moved}))
    found = failure(path, tmp_path / "other")
    assert found.code.id == "MCD720" and "names a file of another folder" in found.message


def test_a_link_out_of_the_project(tmp_path):
    write_teacher(tmp_path / "big")
    (tmp_path / "root").mkdir()
    path = project(tmp_path / "root", SPEC, RECORDS)
    (tmp_path / "root" / "big").mkdir()
    (tmp_path / "root" / "big" / "config.json").write_bytes((tmp_path / "big" / "config.json").read_bytes())
    (tmp_path / "root" / "big" / "model.safetensors").symlink_to(tmp_path / "big" / "model.safetensors")
    _, findings = check(path)
    assert {(found.code.id, found.place.text) for found in findings.items} == {("MCD202", '"big"')}


def test_a_kind_of_model_that_is_not_supported(tmp_path):
    write_teacher(tmp_path / "big")
    config = json.loads((tmp_path / "big" / "config.json").read_text())
    (tmp_path / "big" / "config.json").write_text(json.dumps(config | {"model_type": "gemma"}))
    found = failure(project(tmp_path, SPEC, RECORDS), tmp_path / "out")
    assert found.code.id in ("MCD702", "MCD720")


# --- along with the model --------------------------------------------------------------------------------------------

ALONG = f"""teacher big {{ weights = "big"  run = online }}
{SOURCE}signal copy: cat {{ layers = 2  toward = big.hidden(layer: 2) }}
signal soft: cat {{ layers = final  predict = big.logits  temperature = 2 }}
"""


def test_logits_of_a_teacher(tmp_path):
    teacher = write_teacher(tmp_path / "big")
    compiled(project(tmp_path, ALONG, RECORDS), tmp_path / "out", teach=False)
    dataset = mcd.load(tmp_path / "out", split="train")
    model = gpt2()
    with mcd.supervise(model, dataset) as supervised:
        out = supervised(mcd.Collator(dataset.plan)(list(dataset)), time=0.0)
    losses = []
    for id, spans in CATS.items():
        ids = torch.tensor([IDS[id]])
        with torch.no_grad():
            p, q = (torch.log_softmax(each(ids).logits[0] / 2, -1) for each in (teacher, model.eval()))
        losses += [4 * (p.exp() * (p - q)).sum(-1)[at] for a, b in spans for at in range(a, b)]
    torch.testing.assert_close(out.rules["soft"], torch.stack(losses).mean(), rtol=1e-4, atol=1e-5)


def test_a_teacher_runs_only_where_a_rule_asks_for_it(tmp_path, monkeypatch):
    write_teacher(tmp_path / "big")
    spec = f"""{ALONG}weigh cat {{ factor = 2 }}
curriculum {{
  stage one 50% {{ only = [] }}
  stage two 50% {{ soft.factor = 0 }}
}}
"""
    compiled(project(tmp_path, spec, RECORDS), tmp_path / "out")
    dataset = mcd.load(tmp_path / "out", split="train")
    batch = mcd.Collator(dataset.plan)(list(dataset))
    runs = []
    run = TeacherModel.states
    monkeypatch.setattr(TeacherModel, "states", lambda *args: runs.append(1) or run(*args))
    with mcd.supervise(llama(), dataset) as supervised:
        out = supervised.train()(batch, time=0.0)
        assert runs == [] and out.rules["copy"].item() == out.rules["soft"].item() == 0.0
        assert out.rows["copy"] == 0 and supervised.receipts["copy"].mean_loss is None
        out.loss.backward()
        out = supervised(batch, time=0.5)
        assert len(runs) == 1 and out.rules["copy"] > 0 and out.rules["soft"] > 0
        assert supervised.receipts["copy"].mean_loss == pytest.approx(out.rules["copy"].item(), rel=1e-5)
        out.loss.backward()


def test_the_model_before_training(tmp_path):
    """The copy is the model itself, so that its first loss is 0; it stays what it was, and leaves no trace."""
    spec = f"""teacher past {{ weights = start }}
{SOURCE}signal stay: tokens {{ layers = [2, final]  toward = past.hidden(layer: 2) }}
signal keep_tokens: tokens {{ layers = final  predict = past.logits }}
"""
    compiled(project(tmp_path, spec, RECORDS), tmp_path / "out", teach=False)
    dataset = mcd.load(tmp_path / "out", split="train")
    batch = mcd.Collator(dataset.plan)(list(dataset))
    model = llama()
    with mcd.supervise(model, dataset) as supervised:
        first = supervised(batch, time=0.0)
        assert first.rules["keep_tokens"].item() == pytest.approx(0, abs=1e-6)
        assert len(list(supervised.parameters())) == len(list(model.parameters()))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.5)
        moved = supervised(batch, time=0.0)
        assert moved.rules["keep_tokens"] > 1e-3
        assert torch.isfinite(moved.loss)
        moved.loss.backward()


def test_a_teacher_is_looked_for_and_compared(tmp_path, monkeypatch):
    write_teacher(tmp_path / "big")
    compiled(project(tmp_path, ALONG, RECORDS), tmp_path / "build" / "out", teach=False)
    dataset = mcd.load(tmp_path / "build" / "out")
    mcd.supervise(llama(), dataset).close()  # below a folder that holds the dataset
    (tmp_path / "big").rename(tmp_path / "moved")
    with pytest.raises(Failure, match="MCD721 there is no `big` here, which teacher `big` is to be read from"):
        mcd.supervise(llama(), dataset)
    mcd.supervise(llama(), dataset, teachers={"big": tmp_path / "moved"}).close()
    with pytest.raises(Failure, match="MCD721"):
        mcd.supervise(llama(), dataset, teachers={"big": tmp_path / "build"})
    other = write_teacher(tmp_path / "other", scale=0.3)
    with pytest.raises(Failure, match="MCD722"):
        mcd.supervise(llama(), dataset, teachers={"big": tmp_path / "other"})
    mcd.supervise(llama(), dataset, teachers={"big": other}).close()
    with pytest.raises(Failure, match="MCD720 the plan has teacher `big` with layers = 3, the model has layers = 4"):
        mcd.supervise(llama(), dataset, teachers={"big": llama()})


def test_compiled_and_trained_by_the_commands(tmp_path, monkeypatch):
    write_teacher(tmp_path / "big", "gpt2")
    write_teacher(tmp_path / "reader", "bert")
    write_letters(tmp_path / "reader" / "tokenizer.json", "at", around=True)
    spec = f"""{ALONG}teacher reader {{ weights = "reader" }}
concept animal {{ spans = cat  anchor = centroid(big, layer: 1) }}
relate animal is_a animal_two {{ layers = 2  margin = 0.5 }}
concept animal_two {{ anchor = orthonormal }}
signal pull: cat {{ layers = 1  toward = animal.anchor }}
signal read: tokens {{ layers = 3  toward = reader.hidden(layer: final)  through = linear }}
"""
    path = project(tmp_path, spec, RECORDS)
    write_teacher(tmp_path / "student", "gpt2", n_layer=4)
    out = tmp_path / "out"
    result = CliRunner().invoke(commands, ["compile", str(path), "-o", str(out)])
    assert result.exit_code == 0, result.output
    table = [line.split() for line in result.stdout.splitlines()]
    assert ["read", "4", "22", "22"] in table and ["copy", "3", "4", "6"] in table
    config = str(tmp_path / "student" / "config.json")
    given = ["train", str(out), "--config", config, "--steps", "3", "-o", str(tmp_path / "run"), "--batch-size", "2"]
    result = CliRunner().invoke(commands, given)
    assert result.exit_code == 0, result.output
    log = [json.loads(line) for line in (tmp_path / "run" / "train.jsonl").read_text().splitlines()]
    assert all(log[-1]["rules"][name]["loss"] > 0 for name in ("copy", "soft", "pull", "read"))
    (tmp_path / "big").rename(tmp_path / "moved")
    result = CliRunner().invoke(commands, [*given, "--overwrite"])
    assert result.exit_code == 1 and "error[MCD721]" in result.stderr and "--teacher big=FOLDER" in result.stderr
    result = CliRunner().invoke(commands, [*given, "--overwrite", "--teacher", f"big={tmp_path / 'moved'}"])
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(commands, [*given, "--overwrite", "--teacher", "big"]).exit_code == 2


def test_another_model_of_another_width(tmp_path):
    """`--model`: the teacher's width is no longer the model's, which is said where the teacher is named."""
    write_teacher(tmp_path / "big")
    path = project(tmp_path, SPEC, RECORDS)
    other = {"model_type": "gpt2", "n_layer": 8, "n_head": 2, "n_embd": 16, "vocab_size": 64}
    (tmp_path / "other.json").write_text(json.dumps(other))
    _, findings = check(path, tmp_path / "other.json")
    (found,) = findings.items
    assert (found.code.id, found.place.text) == ("MCD430", "big.hidden(layer: 2)")
    path.write_text(path.read_text().replace("layer: 2)", "layer: 2)  through = linear"))
    program, findings = check(path, tmp_path / "other.json")
    assert program is not None and not findings.items
    found = compile_program(program, tmp_path / "out", teach=Teaching("cpu"))
    assert found.plan.rules[0].through.width == 8 and found.plan.model.hidden == 16


def test_vectors_of_a_field_in_float32(tmp_path):
    spec = f"{SOURCE}signal far: record {{ layers = 2  toward = .v  dtype = float32  pool = last }}\n"
    records = [record | {"v": [1e6, 1.0000001, *[0.5] * 6]} for record in RECORDS]
    path = project(tmp_path, spec, records)
    compiled(path, tmp_path / "out", teach=False)
    dataset = mcd.load(tmp_path / "out")
    vector = mcd.Collator(dataset.plan)(list(dataset)).hidden[0].vector
    torch.testing.assert_close(vector[0], torch.tensor([1e6, 1.0000001, *[0.5] * 6]), rtol=0, atol=0)
    path.write_text(path.read_text().replace("float32", "float16"))
    assert failure(path, tmp_path / "out", teach=False).code.id == "MCD623"
