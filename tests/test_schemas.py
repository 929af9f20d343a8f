"""The published schemas: well formed, told in words, and what is written follows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import mcd
from mcd.docs.generate import HERE, SCHEMAS, schema
from mcd.runtime.measures import MeasureWriter

from .inspected import rich
from .projects import compiled

ROOT = Path(__file__).parent.parent
FILES = sorted((HERE / "schema").glob("*.json"))
SPECS = sorted(path for path in (ROOT / "specs").rglob("*.mcd") if "\nmodel " in path.read_text(encoding="utf-8"))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every schema of an object with fields of its own, that of the whole first."""
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from objects(value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_schema_is_well_formed_and_told(path):
    found = read(path)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$schema"].endswith("/2020-12/schema") and found["$id"].startswith(f"urn:mcd:schema:{path.stem}:")
    assert found["title"] and found["description"]
    assert [name for name, each in found.get("$defs", {}).items() if not each.get("description")] == []
    assert all(each["additionalProperties"] is False for each in objects(found))


def test_every_schema_is_listed():
    page = (HERE / "README.md").read_text(encoding="utf-8")
    assert {f"schema/{path.name}" in page for path in FILES} == {True}
    assert set(SCHEMAS) <= {path.stem for path in FILES}
    assert len({read(path)["$id"] for path in FILES}) == len(FILES)


@pytest.mark.parametrize("spec", [*SPECS, None], ids=lambda spec: "rich" if spec is None else spec.stem)
def test_plans_and_manifests_follow_their_schemas(spec, tmp_path):
    out = tmp_path / "out"
    _ = rich(tmp_path) if spec is None else compiled(spec, out)
    for name, file in (("plan", "program.json"), ("manifest", "manifest.json")):
        validator = jsonschema.Draft202012Validator(json.loads(schema(name)))
        written = read(out / file)
        validator.validate(written)
        assert not validator.is_valid(written | {"unheard_of": 1})
        for left_out in ("version", "format"):
            assert left_out in written


def test_a_measure_follows_its_schema(tmp_path):
    rich(tmp_path)
    dataset = mcd.load(tmp_path / "out")
    with MeasureWriter(dataset.path, "mine", {"loss": "by hand"}) as writer:
        for chunk in dataset.chunks:
            (shard,) = (each for each in dataset.manifest.shards if each.path == chunk.shard)
            writer.write(shard, chunk, {"loss": np.zeros(len(chunk.tokens.used), np.float32)})
    validator = jsonschema.Draft202012Validator(json.loads(schema("measure")))
    validator.validate(read(tmp_path / "out/measures/mine.json"))
