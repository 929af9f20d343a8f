"""`mcd train` in processes of its own: killed, spread over ranks by `torchrun`, with batches made ahead, and compiled."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mcd.runtime.training import checkpoints

from .test_train import CONFIG
from .test_training import arguments, entries, outcome, project, run, stopped_after

__all__ = ["project"]


def command(project, out, *more, steps=12):
    return [sys.executable, "-m", "mcd", *arguments(project, out, *more, steps=steps)]


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(project, tmp_path):
    options = ("--save-every", 3, "--eval-every", 30, "-q")
    subprocess.run(command(project, tmp_path / "whole", *options, steps=60), check=True, env=ENVIRONMENT)
    out, random, kills = tmp_path / "run", np.random.default_rng(0), 0
    for attempt in range(40):
        more = ["--resume"] if checkpoints.found(out) else ["--overwrite"]
        process = subprocess.Popen(command(project, out, *options, *more, steps=60), env=ENVIRONMENT)
        done = checkpoints.found(out)[:1]
        while process.poll() is None and checkpoints.found(out)[:1] == done:
            time.sleep(0.005)
        time.sleep(float(random.random()) * 0.1)
        process.send_signal(signal.SIGKILL if attempt < 6 else 0)
        code = process.wait()
        assert code in (0, -signal.SIGKILL)
        kills += code != 0
        if code == 0:
            break
        checkpoints.newest(out)
    assert kills >= 3
    assert outcome(out) == outcome(tmp_path / "whole")


def torchrun(project, out, *more, steps=6):
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "mcd"]
    return subprocess.run(
        [*start, *arguments(project, out, *more, steps=steps)], env=ENVIRONMENT, capture_output=True, text=True
    )


@pytest.fixture
def plain(project, tmp_path):
    """The same without dropout, whose draws are each rank's own."""
    shutil.copytree(project / "data", tmp_path / "data")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch_and_go_on_as_one(plain):
    options = ("--save-every", 2, "--eval-every", 4)
    found = torchrun(plain, plain / "two", *options)
    assert found.returncode == 0, found.stderr
    assert run(plain, plain / "one", *options, "--batch-size", 16).exit_code == 0
    ours, theirs = entries(plain / "two"), entries(plain / "one")
    assert [entry["step"] for entry in ours] == [entry["step"] for entry in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert (one["loss"], one["token"]) == pytest.approx((other["loss"], other["token"]), rel=1e-5)
        for rule, values in one["rules"].items():
            assert values["rows"] == other["rules"][rule]["rows"]
            if values["loss"] is not None:
                assert values["loss"] == pytest.approx(other["rules"][rule]["loss"], rel=1e-4, abs=1e-6)
    whole = outcome(plain / "two")
    shutil.rmtree(plain / "two/checkpoints/step-6")
    found = torchrun(plain, plain / "two", *options, "--resume")
    assert found.returncode == 0 and "after step 4" in found.stderr
    assert outcome(plain / "two") == whole
    assert "ranks is `1` and was `2`" in run(plain, plain / "two", *options, "--resume").stderr


@pytest.mark.slow
def test_a_rank_that_fails_ends_all(plain):
    found = torchrun(plain, plain / "run", "--lr", "1e9", "--warmup", "0%", steps=200)
    assert found.returncode != 0 and "MCD752" in found.stderr, found.stderr
    found = torchrun(plain, plain / "run")
    assert found.returncode != 0 and found.stderr.count("error[MCD753]") == 1


@pytest.mark.slow
def test_processes_that_make_batches_ahead_change_nothing(project, tmp_path, monkeypatch):
    assert run(project, tmp_path / "whole", "--save-every", 2).exit_code == 0
    with monkeypatch.context() as patched:
        stopped_after(3, patched)
        assert run(project, tmp_path / "ahead", "--save-every", 2, "--workers", 2).exit_code == 130
    found = run(project, tmp_path / "ahead", "--save-every", 2, "--workers", 1, "--resume")
    assert found.exit_code == 0, found.output
    assert outcome(tmp_path / "ahead") == outcome(tmp_path / "whole")


@pytest.mark.slow
def test_compiled_blocks_give_the_same_losses(plain):
    for out, more in ((plain / "eager", ()), (plain / "compiled", ("--compile",))):
        found = run(plain, out, *more, steps=3)
        assert found.exit_code == 0, found.output
    ours, theirs = entries(plain / "compiled"), entries(plain / "eager")
    assert [e["loss"] for e in ours] == pytest.approx([e["loss"] for e in theirs], rel=1e-4)
    for rule in ("look", "axis", "kind"):
        norms = [[entry["rules"][rule]["gradient"] for entry in each[:2]] for each in (ours, theirs)]
        assert norms[0] == pytest.approx(norms[1], rel=1e-2)
