"""Nested plain values with tensors among them, as one safetensors file: the tensors under numbers, and the rest as JSON in its
header. Nothing of it is code."""

from __future__ import annotations

import json
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

_HEADER = "values"
_TENSOR = "tensor"


def pack(value: Any) -> bytes:
    """The file of a value: mappings with names for keys, lists, plain values, and tensors."""
    tensors: dict[str, Tensor] = {}

    def plain(item: Any) -> Any:
        match item:
            case Tensor():
                name = str(len(tensors))
                tensors[name] = item.detach().cpu().clone().contiguous()
                return {_TENSOR: name}
            case dict():
                return {"map": {name: plain(each) for name, each in item.items()}}
            case list() | tuple():
                return [plain(each) for each in item]
        return item

    header = json.dumps(plain(value))
    return save(tensors, {_HEADER: header})


def unpack(content: bytes) -> Any:
    """What `pack` was given, tensors on the CPU, tuples as lists."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])["__metadata__"][_HEADER]
    tensors = load(content)

    def whole(item: Any) -> Any:
        match item:
            case {"map": values}:
                return {name: whole(each) for name, each in values.items()}
            case {"tensor": name}:
                return tensors[name]
            case list():
                return [whole(each) for each in item]
        return item

    return whole(json.loads(header))
