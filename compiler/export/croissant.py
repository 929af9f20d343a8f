"""Croissant metadata of an export: JSON-LD by the vocabulary of Croissant 1.1 (http://mlcommons.org/croissant/1.1).

A FileObject for every Parquet file with its SHA-256, a FileSet of those of a split, and a RecordSet whose fields are the columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from ..inspect.meaning import type_text
from .contents import Contents, Exported

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
PARQUET = "application/x-parquet"
"""As the Hub and the library of Croissant call it; the registered `application/vnd.apache.parquet` they do not read."""
FILES = "parquet-files"
RECORDS = "rows"

_TYPES = {"string": "sc:Text", "int32": "cr:Int32", "float16": "cr:Float16", "float32": "cr:Float32"}

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract", "field"),
            *("fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath"),
            *("key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace"),
            *("samplingRate", "separator", "source", "subField", "transform"),
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}


def croissant(contents: Contents) -> str:
    """The text of croissant.json."""
    report = contents.report
    found: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": contents.name,
        "description": f"Rows that mcd {report.version} compiled from {report.spec}, exported as Parquet.",
        **({"license": contents.license} if contents.license is not None else {}),
        "distribution": [*map(_file, contents.files), _files()] if contents.files else [],
        "recordSet": [_records(contents)] if contents.files else [],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _file(file: Exported) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.entry.path,
        "name": file.entry.path,
        "contentUrl": file.entry.path,
        "contentSize": f"{file.entry.bytes} B",
        "encodingFormat": PARQUET,
        "sha256": file.entry.sha256,
    }


def _files() -> dict[str, Any]:
    return {"@type": "cr:FileSet", "@id": FILES, "name": FILES, "encodingFormat": PARQUET, "includes": "data/*.parquet"}


def _records(contents: Contents) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": RECORDS,
        "name": RECORDS,
        "description": "A record of a source, or a part of one, as tokens with the spans and edges that rules supervise.",
        "field": [_split(), *_fields(contents)],
    }


def _split() -> dict[str, Any]:
    """The split, which the name of a row's file tells."""
    transform = {"regex": r".*data/(\w+)-\d{5,}-of-\d{5,}[.]parquet$"}
    return {
        "@type": "cr:Field",
        "@id": f"{RECORDS}/split",
        "name": "split",
        "description": "the name of the split, from the name of the file",
        "dataType": "sc:Text",
        "source": {"fileSet": {"@id": FILES}, "extract": {"fileProperty": "fullpath"}, "transform": transform},
    }


def _fields(contents: Contents) -> Iterator[dict[str, Any]]:
    meanings = {column.name: column.meaning for column in contents.report.columns}
    for number, column in enumerate(contents.columns):
        values = column.type.value_type if pa.types.is_list(column.type) else column.type
        yield {
            "@type": "cr:Field",
            "@id": f"{RECORDS}/{_id(column.name, number)}",
            "name": column.name,
            "description": meanings.get(column.name) or "",
            "dataType": _TYPES[type_text(values)],
            **({"isArray": True, "arrayShape": "-1"} if pa.types.is_list(column.type) else {}),
            "source": {"fileSet": {"@id": FILES}, "extract": {"column": column.name}},
        }


def _id(name: str, number: int) -> str:
    """A name as a part of an IRI, where it can be one."""
    return name if name.replace(".", "").replace("_", "").isalnum() and name.isascii() else f"column-{number}"
