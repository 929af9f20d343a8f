"""Tensors of a safetensors file, bfloat16 included, which numpy lacks and most published weights use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def tensor_names(path: Path) -> tuple[str, ...]:
    """The names in a file, sorted. Raises OSError or SafetensorError for a file that cannot be read."""
    with safe_open(path, framework="numpy") as opened:
        return tuple(sorted(opened.keys()))


def read_tensor(path: Path, name: str, rows: list[int] | None = None) -> npt.NDArray[np.float32]:
    """A tensor, or only `rows` along its first dimension (the rest of the file is not read).

    Raises OSError or SafetensorError for a file that cannot be read, KeyError for a tensor that it lacks, IndexError for a
    row that the tensor lacks, and ValueError for a type that holds no real numbers.
    """
    if name not in tensor_names(path):
        raise KeyError(name)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"tensor `{name}` has type {entry['dtype']}, which holds no real numbers")
    shape, start = tuple(entry["shape"]), 8 + length + entry["data_offsets"][0]
    table = np.memmap(path, dtype=DTYPES[entry["dtype"]], mode="r", offset=start, shape=shape or (1,))
    chosen = np.asarray(table if rows is None else table[rows])
    if entry["dtype"] == "BF16":
        return (chosen.astype(np.uint32) << 16).view(np.float32)
    return chosen.astype(np.float32)
