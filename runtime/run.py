"""The directory of a run, and the models that come from configs and from such directories."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from ..compiler.manifest import file_digest
from ..dsl.codes import runtime as codes
from ..dsl.diagnostics import Failure
from ..dsl.source import DataPlace
from .dataset import Dataset
from .receipts import Receipt
from .supervised import Supervised

PROBES_FILE = "probes.safetensors"
RECEIPTS_FILE = "receipts.json"


def device_of(name: str | None) -> torch.device:
    """The device of that name; None is cuda if there is one, else cpu. Raises RuntimeError where there is no such device."""
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def new_model(config: Path, dataset: Dataset, seed: int, device: torch.device | str = "cpu") -> PreTrainedModel:
    """A language model with random weights from a Hugging Face config.json, causal or masked as the plan's is. Nothing is fetched
    from anywhere.

    Raises Failure where the file is no such config, or the model has fewer positions than the shards have tokens in a row.
    """
    torch.manual_seed(seed)
    try:
        found = AutoConfig.from_pretrained(config, local_files_only=True, trust_remote_code=False)
        model: PreTrainedModel = _kind(dataset).from_config(found, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Failure(
            codes.MODEL_CONFIG.at(DataPlace(str(config)), f"`{config.name}` gives no model: {reason}")
        ) from None
    check_positions(model, config.name, dataset)
    nn.Module.to(model, device)
    return model


def saved_model(path: Path, dataset: Dataset, device: torch.device | str = "cpu") -> PreTrainedModel:
    """The language model, causal or masked as the plan's is, that transformers saved in the folder `path`, in float32. Nothing is
    fetched, nothing unpickled.

    Raises Failure where the folder holds no such model, or it has fewer positions than the shards have tokens in a row.
    """
    place = DataPlace(str(path))
    if not (path / "config.json").is_file():
        message = f"`{path.name}` is no folder of a saved model: it has no config.json"
        raise Failure(codes.SAVED_MODEL.at(place, message, help="`mcd train` and `save_pretrained` write one"))
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model: PreTrainedModel = _kind(dataset).from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Failure(codes.SAVED_MODEL.at(place, f"`{path.name}` gives no model: {reason}")) from None
    check_positions(model, path.name, dataset)
    nn.Module.to(model, device)
    return model


def _kind(dataset: Dataset) -> Any:
    return AutoModelForCausalLM if dataset.plan.model.causal else AutoModelForMaskedLM


def model_digest(path: Path) -> str:
    """A digest of the config and the weights that a folder holds: 16 hexadecimal digits."""
    files = [path / "config.json", *sorted(path.glob("*.safetensors"))]
    return hashlib.sha256("".join(file_digest(file)[0] for file in files).encode()).hexdigest()[:16]


def check_positions(model: PreTrainedModel, name: str, dataset: Dataset) -> None:
    """Fails with MCD751 where the model has fewer positions than the shards have tokens in a row."""
    positions, context = getattr(model.config, "max_position_embeddings", None), dataset.plan.model.context
    if isinstance(positions, int) and positions < context:
        message = f"`{name}` has {positions} positions, and the plan has a context of {context}"
        raise Failure(codes.CONTEXT_OF_MODEL.at(DataPlace(name), message))


def save(directory: Path, model: PreTrainedModel, supervised: Supervised) -> None:
    """Write the model as transformers does, the probes beside it, and the receipts."""
    write_model(directory, model, supervised)
    write_receipts(directory, supervised.receipts.all())


def write_receipts(directory: Path, receipts: Sequence[Receipt]) -> None:
    """Write what every rule did."""
    text = json.dumps(plain([asdict(receipt) for receipt in receipts]), indent=1) + "\n"
    (directory / RECEIPTS_FILE).write_text(text, encoding="utf-8")


def write_model(directory: Path, model: PreTrainedModel, supervised: Supervised) -> None:
    """Write the model as transformers does, and the probes beside it."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    model.save_pretrained(directory)
    if next(supervised.probes.parameters(), None) is not None:
        supervised.save_probes(directory / PROBES_FILE)


def plain(value: Any) -> Any:
    """The same for JSON, which has no NaN and no infinity: they are null."""
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case float():
            return value if math.isfinite(value) else None
        case _:
            return value


def claim(directory: Path, overwrite: bool) -> None:
    """Make the directory of a run. One that holds something is refused; `overwrite` empties the one of an earlier run.

    Raises Failure where it may not be used.
    """
    place = DataPlace(str(directory))
    if directory.exists() and not directory.is_dir():
        raise Failure(codes.RUN_EXISTS.at(place, f"`{directory.name}` is a file"))
    held = sorted(directory.iterdir()) if directory.is_dir() else []
    foreign = [path for path in held if not any(path.match(pattern) for pattern in _OURS)]
    if foreign:
        message = f"`{directory.name}` holds `{foreign[0].name}`, which no run wrote"
        raise Failure(codes.RUN_EXISTS.at(place, message, help="choose another directory"))
    if held and not overwrite:
        message = f"`{directory.name}` holds an earlier run"
        raise Failure(codes.RUN_EXISTS.at(place, message, help="`--overwrite` replaces it"))
    for path in held:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    directory.mkdir(parents=True, exist_ok=True)


_OURS = (
    "train.jsonl",
    RECEIPTS_FILE,
    "summary.json",
    "wandb.json",
    "checkpoints",
    "best",
    "tensorboard",
    "wandb",
    PROBES_FILE,
    "model*.safetensors",
    "model.safetensors.index.json",
    "config.json",
    "generation_config.json",
)
"""The files and folders of a run."""
