"""`mcd train` around its loop: the bare loop's numbers, runs that go on from checkpoints, what is said of errors, and logs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import types

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from mcd.cli.main import mcd
from mcd.cli.train_table import Table
from mcd.dsl.diagnostics import Failure
from mcd.runtime.dataset import load
from mcd.runtime.monitor import Pull
from mcd.runtime.run import new_model
from mcd.runtime.supervised import Supervised
from mcd.runtime.terms import AttendTerm
from mcd.runtime.train import Settings, train
from mcd.runtime.training import checkpoints, loop
from mcd.runtime.training.finite import Finite
from mcd.runtime.training.loop import Mode, Training
from mcd.runtime.training.packed import pack, unpack

from .datasets import COLUMNS, attend, classify, plan, random_batch, random_recipe, relate, weigh, write
from .test_train import CONFIG

DROPOUT = {"attention_dropout": 0.3}
TIMES = ("seconds", "tokens_per_second")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A compiled directory with a probe and three other kinds of rule, and the config of a model with dropout."""
    folder = tmp_path_factory.mktemp("training")
    random = np.random.default_rng(0)
    rules = [attend("look", "e"), relate("axis", "a"), classify("kind", "c", attribute="kind", labels=("x", "y", "z"))]
    made = plan([*rules, weigh("more", "b", 2.0)], COLUMNS)
    splits = {"train": [random_batch(random, 40)], "valid": [random_batch(random, 12)]}
    write(folder / "data", random_recipe(), made, splits)
    (folder / "config.json").write_text(json.dumps(CONFIG | DROPOUT))
    return folder


def arguments(project, out, *more, steps=6):
    given = ("--config", project / "config.json", "--steps", steps, "--batch-size", 8, "--log-every", 2, "-o", out)
    return [str(each) for each in ("train", project / "data", *given, "--inspect-every", 2, "--device", "cpu", *more)]


def run(project, out, *more, steps=6):
    return CliRunner().invoke(mcd, arguments(project, out, *more, steps=steps))


def entries(out):
    """The log of a run, without what depends on the clock."""
    found = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    return [{name: value for name, value in entry.items() if name not in TIMES} for entry in found]


def outcome(out):
    """What a run left, to be compared: log, weights, probes, receipts."""
    names = ("model.safetensors", "probes.safetensors", "receipts.json")
    summary = json.loads((out / "summary.json").read_text())
    del summary["seconds"]
    return entries(out), [(out / name).read_bytes() for name in names], summary


def stopped_after(step, monkeypatch, number=signal.SIGINT):
    """Has a run be sent a signal while it takes a step."""
    take = Training.take

    def taking(self):
        if self.done + 1 == step:
            os.kill(os.getpid(), number)
        return take(self)

    monkeypatch.setattr(Training, "take", taking)


# --- the loop


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_loop_gives_the_losses_and_weights_of_the_bare_one(project, accumulate):
    settings = Settings(steps=3, batch_size=4, accumulate=accumulate)
    dataset = load(project / "data", split="train")
    model, other = (new_model(project / "config.json", dataset, 0) for _ in range(2))
    bare = []
    train(dataset, model, settings, lambda step, supervised, sums, rate: bare.append((float(sums.loss), rate)))
    training = Training(dataset, other, settings, Mode(inspect_every=1))
    taken = [training.take() for _ in range(3)]
    assert [(float(each.sums.loss), each.rate) for each in taken] == bare
    assert all(torch.equal(one, same) for one, same in zip(model.parameters(), other.parameters(), strict=True))


# --- going on


def test_a_run_that_was_stopped_twice_is_the_run_that_was_not(project, tmp_path, monkeypatch):
    """Stopped after steps 2 and 5, in mid-epoch and behind its edge (40 records, 8 a step, 12 steps), with dropout."""
    options = ("--eval-every", 4, "--save-every", 3)
    assert run(project, tmp_path / "whole", *options, steps=12).exit_code == 0
    for number, step in enumerate((2, 11)):
        with monkeypatch.context() as patched:
            stopped_after(step, patched)
            found = run(project, tmp_path / "parts", *options, *["--resume"] * number, steps=12)
            assert found.exit_code == 130 and f"step-{step}" in found.stderr, found.output
    found = run(project, tmp_path / "parts", *options, "--resume", steps=12)
    assert found.exit_code == 0 and "after step 11 of 12" in found.stderr
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


def test_old_checkpoints_go_and_a_damaged_one_is_passed_over(project, tmp_path):
    out = tmp_path / "run"
    assert run(project, out, "--save-every", 1, "--keep", 2).exit_code == 0
    assert [path.name for path in checkpoints.found(out)] == ["step-6", "step-5"]
    whole = outcome(out)
    file = out / "checkpoints/step-6/optimizer.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    found = run(project, out, "--save-every", 1, "--keep", 2, "--resume")
    assert found.exit_code == 0, found.output
    assert "`step-6` is not whole: `optimizer.safetensors` is not the file that was written" in found.stderr
    assert "going on from" in found.stderr and "after step 5" in found.stderr
    assert outcome(out) == whole
    assert checkpoints.newest(out)[1].step == 6
    shutil.rmtree(out / "checkpoints/step-5")
    (out / "checkpoints/step-6/checkpoint.json").write_text("{")
    assert "MCD756" in run(project, out, "--save-every", 1, "--resume").stderr


def test_another_run_is_refused_by_all_that_differs(project, tmp_path):
    out = tmp_path / "run"
    run(project, out, "--save-every", 3)
    before = outcome(out)
    found = run(project, out, "--resume", "--lr", "0.1", "--precision", "bf16")
    assert found.exit_code == 1 and "MCD757" in found.stderr
    assert "--lr is `0.1` and was `0.0003`; --precision is `bf16` and was `float32`" in found.stderr
    assert "rules is `" in run(project, out, "--resume", "--without-rules").stderr
    assert outcome(out) == before
    assert "MCD756" in run(project, tmp_path / "none", "--resume").stderr
    assert run(project, out, "--resume", "--overwrite").exit_code == 2
    assert run(project, out, "--keep-best").exit_code == 2


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(project, tmp_path, monkeypatch):
    out = tmp_path / "run"
    calls = []

    def failing(path, content):
        calls.append(path)
        if len(calls) > 1:
            raise OSError(28, "No space left on device", str(path))
        path.write_bytes(content)

    monkeypatch.setattr(checkpoints, "write_file", failing)
    found = run(project, out, "--save-every", 2)
    assert found.exit_code == 1 and "MCD756" in found.stderr and "No space left on device" in found.stderr
    assert "after step 2" in found.stderr
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-2"]


def test_the_best_model_is_kept_beside_the_last(project, tmp_path):
    out = tmp_path / "run"
    assert run(project, out, "--eval-every", 2, "--keep-best", "--lr", "1").exit_code == 0
    tokens = {entry["step"]: entry["token"] for entry in entries(out) if "split" in entry}
    assert min(tokens, key=tokens.get) != 6, "the last one is not the best, or this shows nothing"
    assert (out / "best/model.safetensors").read_bytes() != (out / "model.safetensors").read_bytes()
    assert (out / "best/probes.safetensors").exists()


def test_nested_values_and_tensors_come_back_from_one_file():
    value = {"a": [1, None, {"tensor": "b"}], "t": torch.arange(3), "n": {"x": torch.tensor(2.5), "y": "s"}, "e": {}}
    found = unpack(pack(value))
    assert torch.equal(found["t"], value["t"]) and found["t"].dtype == torch.int64
    assert float(found["n"]["x"]) == 2.5 and found["n"]["y"] == "s"
    assert (found["a"], found["e"]) == (value["a"], {})


# --- what goes wrong


def spoilt(monkeypatch, kind, at, what):
    """Has the losses of a kind of term be changed by `what`, from call `at`."""
    calls, forward = [], kind.forward

    def other(self, *given):
        calls.append(1)
        losses = forward(self, *given)
        return what(losses) if len(calls) > at else losses

    monkeypatch.setattr(kind, "forward", other)


def test_a_loss_that_is_no_number_is_named_with_its_records_before_it_spoils_a_weight(project, tmp_path, monkeypatch):
    spoilt(monkeypatch, AttendTerm, 4, lambda losses: losses * float("nan"))
    found = run(project, tmp_path / "run", "--save-every", 2)
    assert found.exit_code == 1 and "MCD752" in found.stderr
    assert "the loss of rule `look` is nan in step 5, on the records `" in found.stderr
    assert "with --resume a run goes on from" in found.stderr and "after step 4" in found.stderr
    monkeypatch.undo()
    assert run(project, tmp_path / "run", "--save-every", 2, "--resume").exit_code == 0
    assert run(project, tmp_path / "whole", "--save-every", 2).exit_code == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_gradient_that_is_no_number_is_named_by_its_rule(project, tmp_path, monkeypatch):
    """sqrt(0 x) is 0 and has the slope 0 x infinity."""
    spoilt(monkeypatch, AttendTerm, 2, lambda losses: losses + (0 * losses).sqrt())
    found = run(project, tmp_path / "run", "--inspect-every", 0)
    assert found.exit_code == 1, found.output
    assert "the gradient of step 3 is nan, of rule `look`, though every loss is a number" in found.stderr


def test_losses_that_an_accelerator_would_be_waited_for_are_looked_at_later():
    found = Finite()
    for step, value in enumerate((1.0, float("inf"), float("nan")), 1):
        values = torch.tensor([value, 0.5])
        found.note(step, (f"r{step}",), types.SimpleNamespace(token=torch.tensor(2.0), values=values, ids=("a", "b")))
    with pytest.raises(Failure, match="rule `a` is inf in step 2, on the records `r2`"):
        found.look()
    found.look()


OUT_OF = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"


@pytest.mark.parametrize(
    ("place", "where"),
    [
        ("forward", "in the forward pass"),
        ("rule", "in the loss of `look`"),
        ("backward", "in the backward pass"),
        ("update", "in the step of the optimiser"),
    ],
)
def test_out_of_memory_says_where_and_of_what(project, tmp_path, monkeypatch, place, where):
    def failing(*given, **named):
        raise torch.OutOfMemoryError("CUDA out of memory") if place == "rule" else RuntimeError(OUT_OF)

    if place == "rule":
        monkeypatch.setattr(AttendTerm, "read", failing)
    elif place == "forward":
        monkeypatch.setattr(Supervised, "forward", failing)
    elif place == "backward":
        monkeypatch.setattr(torch.Tensor, "backward", failing)
    else:
        monkeypatch.setattr(loop, "clip_grad_norm_", failing)
    found = run(project, tmp_path / "run")
    assert found.exit_code == 1 and "MCD755" in found.stderr, found.output
    assert f"out of memory in step 1, {where}: a micro-batch of 8 x " in found.stderr
    assert "; rows: `look` 1, `kind` 11" in found.stderr and "--checkpointing" in found.stderr


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_a_shard_that_goes_or_changes_while_a_run_reads_it_is_named(project, tmp_path, monkeypatch, how):
    data = tmp_path / "data"
    shutil.copytree(project / "data", data)
    shutil.copy(project / "config.json", tmp_path)
    (shard,) = (data / "shards/train").iterdir()
    take = Training.take

    def taking(self):
        if self.done == 3:
            shard.unlink() if how == "gone" else os.truncate(shard, 100)
        return take(self)

    monkeypatch.setattr(Training, "take", taking)
    found = run(tmp_path, tmp_path / "run", "--save-every", 2)
    assert found.exit_code == 1 and "MCD762" in found.stderr
    said = "is gone" if how == "gone" else "has changed"
    assert f"`shards/train/{shard.name}` {said} since the run began to read it" in found.stderr
    assert "after step 2" in found.stderr


def test_what_a_model_or_device_cannot_is_refused_by_name(project, tmp_path, monkeypatch):
    found = run(project, tmp_path / "run", "--precision", "fp16")
    assert "MCD763" in found.stderr and "needs a GPU" in found.stderr
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("transformers.LlamaForCausalLM.supports_gradient_checkpointing", False)
    found = run(project, tmp_path / "run", "--checkpointing")
    assert "MCD763" in found.stderr and "`LlamaForCausalLM`" in found.stderr


# --- modes


def test_checkpointing_gives_the_same_losses_and_bf16_nearly(project, tmp_path):
    plain, other, half = tmp_path / "plain", tmp_path / "other", tmp_path / "half"
    for out, more in ((plain, ()), (other, ("--checkpointing",)), (half, ("--precision", "bf16"))):
        found = run(project, out, *more, steps=2)
        assert found.exit_code == 0, found.output
    losses = {out.name: [entry["loss"] for entry in entries(out)] for out in (plain, other, half)}
    assert losses["other"] == pytest.approx(losses["plain"], rel=1e-5)
    assert losses["half"] == pytest.approx(losses["plain"], rel=0.02)
    assert losses["half"] != losses["plain"]


def test_fp16_scales_losses_and_nothing_else(project, monkeypatch):
    """Where there is a GPU; here on a CPU that claims to be one, in float32, so that the scale alone is at work."""
    monkeypatch.setattr(loop, "_arrange", lambda *given: None)
    monkeypatch.setitem(loop._DTYPES, "fp16", torch.bfloat16)
    dataset = load(project / "data", split="train")
    norms, cosines = [], []
    for precision in ("bf16", "fp16"):
        model = new_model(project / "config.json", dataset, 0)
        training = Training(dataset, model, Settings(steps=4, batch_size=4), Mode(precision, inspect_every=1))
        taken = [training.take() for _ in range(3)]
        norms.append([float(each.norm) for each in taken])
        cosines.append([each.pulls["look"].norm for each in taken])
    assert norms[0] == pytest.approx(norms[1], rel=0.05)
    assert cosines[0] == pytest.approx(cosines[1], rel=0.05)


# --- logs


class FakeRun:
    def __init__(self, id, settings):
        self.id, self.settings, self.logged, self.finished = id, settings, [], False

    def define_metric(self, name, **given):
        self.settings.setdefault("metrics", []).append(name)

    def log(self, values):
        self.logged.append(values)

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb(monkeypatch):
    """A module that looks like the package, and the runs that were begun with it."""
    runs = []

    def init(**settings):
        runs.append(FakeRun(settings.get("id") or "r1", settings))
        return runs[-1]

    module = types.ModuleType("wandb")
    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delitem(sys.modules, "mcd.runtime.training.wandb", raising=False)
    yield runs
    sys.modules.pop("mcd.runtime.training.wandb", None)


def test_weights_and_biases_gets_every_entry_and_the_same_run_goes_on(project, tmp_path, wandb):
    out = tmp_path / "run"
    options = ("--save-every", 2, "--wandb", "mine", "--eval-every", 6)
    assert run(project, out, *options).exit_code == 0
    assert run(project, out, *options, "--resume").exit_code == 0
    first, second = wandb
    assert first.settings["project"] == "mine" and first.settings["config"]["--lr"] == 3e-4
    assert second.settings["id"] == "r1" and second.settings["resume"] == "allow"
    assert [values["step"] for values in first.logged] == [1, 2, 4, 6, 6]
    assert first.logged[0]["loss"] == entries(out)[0]["loss"]
    assert first.logged[1]["rule/look/cosine"] == entries(out)[1]["rules"]["look"]["cosine"]
    assert "valid/rule/look/loss" in first.logged[-1] and first.finished


def test_a_package_that_is_missing_is_named_before_anything_begins(project, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    found = run(project, tmp_path / "run", "--wandb", "mine")
    assert found.exit_code == 1 and "MCD758" in found.stderr and "pip install wandb" in found.stderr
    assert not (tmp_path / "run").exists()


def test_event_files_hold_what_the_log_does(project, tmp_path):
    """Read back record by record, with the reader that TensorBoard's own package has."""
    out = tmp_path / "run"
    assert run(project, out, "--tensorboard", "--eval-every", 6).exit_code == 0
    found = {}
    for file in (out / "tensorboard").iterdir():
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                found[value.tag, event.step] = value.tensor.float_val[0]
    log = {(entry["step"], entry.get("split")): entry for entry in entries(out)}
    assert found["loss", 4] == pytest.approx(log[4, None]["loss"])
    assert found["rule/axis/gradient", 2] == pytest.approx(log[2, None]["rules"]["axis"]["gradient"])
    assert found["valid/token", 6] == pytest.approx(log[6, "valid"]["token"])


def test_the_summary_names_a_rule_that_fights_the_token_loss(project, tmp_path, monkeypatch):
    monkeypatch.setattr("mcd.runtime.monitor._pulls", lambda numbers: [FIGHTING for _ in numbers])
    found = run(project, tmp_path / "run", "--inspect-every", 1)
    assert "warning: `look` fights the token loss: mean cosine -0.50 over 6 inspections" in found.stdout
    assert json.loads((tmp_path / "run/summary.json").read_text())["fights"] == ["look", "kind", "axis"]
    found = run(project, tmp_path / "few", "--inspect-every", 2, steps=4)
    assert "fights" not in found.stdout


FIGHTING = Pull(1.0, 1.0, -0.5)


class Screen:
    """A stream that may be a terminal, and keeps what is written."""

    def __init__(self, terminal):
        self.terminal, self.text = terminal, ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def entry_of(step, rules, **more):
    found = {"step": step, "loss": 1.0, "token": 0.5, "seconds": float(step), "lr": 1e-3, "tokens_per_second": 9.0}
    return found | {"rules": {rule: {"loss": 0.25, "rows": 3} for rule in rules}} | more


def test_the_table_has_a_column_per_rule_as_far_as_there_is_room(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    screen = Screen(True)
    table = Table(100, False, screen)
    table.write(entry_of(10, ["coref", "a_rule_of_a_long_name", "third"]))
    table.write(entry_of(20, ["coref", "a_rule_of_a_long_name", "third"]))
    table.write(entry_of(20, ["coref"], split="valid"))
    table.close()
    rows = [row for row in screen.text.split("\r\x1b[K") if row]
    assert "coref" in rows[0] and rows[0].split()[-4] == "+2"
    assert [row.endswith("\n") for row in rows] == [True, False, False, True]
    assert all(len(row.rstrip("\n")) < 80 for row in rows)
    assert rows[2].split() == ["20/100", "1.0000", "0.5000", "0.2500", "1.00e-03", "9", "1:20"]
