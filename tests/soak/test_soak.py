"""Short versions of the commands of this folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def ran(module: str, *arguments: str) -> str:
    """What a command of this folder prints, which has to end well."""
    command = [sys.executable, "-m", f"tests.soak.{module}", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0 and "WRONG" not in ended.stdout, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("scenario", ["edited", pytest.param("shares", marks=pytest.mark.slow)])
def test_a_killed_compiler_leaves_the_old_dataset_or_the_new_one(scenario):
    said = ran("kills", "--only", scenario, "--points", "7", "--times", "12", "--seed", "1")
    assert f"{scenario}: 7 of " in said and "0 wrong" in said


@pytest.mark.slow
def test_a_disk_that_fails_is_told_of_and_costs_nothing_that_is_done():
    said = ran("faults", "--only", "edited", "--steps", "14", "--sizes", "4")
    assert "edited: 14 of " in said and "0 wrong" in said


@pytest.mark.slow
def test_a_measure_is_there_as_it_was_or_as_it_is_now_where_the_disk_fails():
    assert "0 wrong" in ran("faults", "--only", "measure", "--sizes", "4")


@pytest.mark.slow
def test_nothing_around_a_compiler_shows_in_its_bytes():
    assert "20 ways" in ran("identity", "--short")


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them():
    assert "0 wrong" in ran("pools", "--count", "2")


def test_refusals_of_a_real_file_system():
    said = ran("refusals")
    assert "limited: told" in said and "forbidden: told" in said and "0 wrong" in said
