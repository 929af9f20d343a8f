"""The dataset of these tests, compiled once."""

from __future__ import annotations

import pytest

from mcd.runtime.dataset import load

from .orders import write


@pytest.fixture(scope="session")
def compiled_once(tmp_path_factory):
    return write(tmp_path_factory.mktemp("loader"))


@pytest.fixture
def dataset(compiled_once):
    return load(compiled_once, split="train")
