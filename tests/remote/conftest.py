"""The server of stores, once for all tests that ask for a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .stores import ENVIRONMENT, Bucket, served


@pytest.fixture(scope="session")
def _buckets() -> Iterator[Callable[[], Bucket]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with served() as bucket:
            yield bucket


@pytest.fixture
def bucket(_buckets: Callable[[], Bucket], monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket of its own, and credentials for it in the environment."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return _buckets()
