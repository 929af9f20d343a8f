"""Teachers: other models that are read and never trained.

A teacher is found by the adapters that the trained model is found by. It runs without gradients, in evaluation mode and in the
number format that its weights are kept in; its hidden states are given in float32.

Hidden states of another model as targets: Romero et al. 2014, "FitNets", https://arxiv.org/abs/1412.6550. The target has no
gradient: the loss is mse or cosine of a state and t = teacher(x), held constant.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar, get_verbosity, set_verbosity, set_verbosity_error

from ..compiler.manifest import Manifest, teacher_digest
from ..compiler.plan import TeacherPlan
from ..dsl.checked import Layer
from ..dsl.codes.runtime import TEACHER_CHANGED, TEACHER_MISSING, TEACHER_MODEL
from ..dsl.diagnostics import Failure
from ..dsl.source import DataPlace
from .adapters import Adapter, Parts, locate, unwrap
from .batch import Batch
from .capture import Hooks, Request
from .packed import check_apart

GivenTeachers = Mapping[str, nn.Module | str | Path]
"""Teachers by name: a model, or the folder of one."""

UNREAD = ("pooler",)
"""Parts that a file may lack, since nothing reads them."""


class TeacherModel:
    """A model whose hidden states are read at `layers`. It is no `nn.Module`, so that nobody trains or saves it along."""

    def __init__(self, name: str, model: nn.Module, parts: Parts, layers: Iterable[Layer]) -> None:
        self.name = name
        self.parts = parts
        self._model = model.requires_grad_(False).eval()
        self._hooks = Hooks(model, parts, (), dict.fromkeys(layers))
        self._apart = False

    @torch.no_grad()
    def states(self, batch: Batch, requests: Mapping[Layer, Request]) -> dict[tuple[int, Layer], Tensor]:
        """The hidden states that are asked for, [N, d] by reader and layer, of one pass over the batch's tokens.

        Fails with MCD729 where the records of a packed batch do not stay apart in it.
        """
        if batch.document is not None and not self._apart:
            check_apart(self._model, self._run, self.parts.shape[0], batch.input_ids.device)
            self._apart = True
        with self._hooks.listen(requests) as seen:
            self._run(batch)
        return seen.hidden

    def _run(self, batch: Batch) -> Tensor:
        """One pass: what the model computes of every token, [B, T, ..]."""
        run = self.parts.states if isinstance(unwrap(self._model), PreTrainedModel) else self.parts.logits
        return run(self._model, batch)

    def to(self, device: torch.device) -> None:
        """Have it on `device`. Does nothing where it is there."""
        if next(self._model.parameters()).device != device:
            self._model.to(device)

    def close(self) -> None:
        """Takes the hooks off."""
        self._hooks.close()


def frozen_copy(
    name: str, model: nn.Module, adapter: Adapter | None, layers: Iterable[Layer], causal: bool
) -> TeacherModel:
    """`model` as it is now, as a teacher; `causal` as in `locate`."""
    twin = copy.deepcopy(model)
    return TeacherModel(name, twin, locate(twin, adapter, causal=causal), layers)


def given_teacher(name: str, plan: TeacherPlan, model: nn.Module, layers: Iterable[Layer]) -> TeacherModel:
    """A model of one's own as a teacher. Fails where it is not supported, or is not the one of the plan."""
    parts = locate(model, causal=plan.causal)
    _check(name, plan, parts, DataPlace(type(model).__name__))
    return TeacherModel(name, model, parts, layers)


def load_teacher(
    name: str, plan: TeacherPlan, folder: Path, config: Path, layers: Iterable[Layer], head: bool = False
) -> TeacherModel:
    """The teacher whose safetensors are in `folder`. Nothing is fetched from anywhere, and no code of the model's is run.

    `head`: logits are read of it. Fails with MCD720 where the files give no model, or not the plan's, and with MCD702 for a kind
    of model that is not supported.
    """
    place = DataPlace(str(folder))
    verbosity = get_verbosity()
    try:
        _check_index(folder)
        set_verbosity_error()  # type: ignore[no-untyped-call]  # what is missing is said below
        disable_progress_bar()  # type: ignore[no-untyped-call]
        found = AutoConfig.from_pretrained(config, local_files_only=True, trust_remote_code=False)
        kind: Any = AutoModelForCausalLM if plan.causal else AutoModel
        model, info = kind.from_pretrained(
            folder,
            config=found,
            dtype="auto",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        ImportError,
        SafetensorError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise Failure(
            TEACHER_MODEL.at(place, f"`{folder.name}` gives no model for teacher `{name}`: {reason}")
        ) from None
    finally:
        set_verbosity(verbosity)
    parts = locate(model, causal=plan.causal)
    heads = () if head else ("lm_head",)
    missing = sorted(key for key in info["missing_keys"] if not key.startswith((*UNREAD, *heads)))
    if missing:
        message = f"`{folder.name}` lacks weights of teacher `{name}`: {', '.join(f'`{key}`' for key in missing[:3])}"
        raise Failure(TEACHER_MODEL.at(place, message))
    _check(name, plan, parts, place)
    return TeacherModel(name, model, parts, layers)


def _check_index(folder: Path) -> None:
    """Raises ValueError for an index of several files that names one outside of the folder."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = json.loads(index.read_bytes())["weight_map"].values()
        if any("/" in name or "\\" in name for name in names):
            raise ValueError(f"`{index.name}` names a file of another folder")


def _check(name: str, plan: TeacherPlan, parts: Parts, place: DataPlace) -> None:
    vocab, width = parts.shape
    found = {"layers": len(parts.blocks), "hidden": width, "vocab": vocab, "causal": parts.causal}
    wrong = {key: value for key, value in found.items() if getattr(plan, key) != value}
    if wrong:
        wanted = ", ".join(f"{key} = {getattr(plan, key)}" for key in wrong)
        has = ", ".join(f"{key} = {value}" for key, value in wrong.items())
        raise Failure(TEACHER_MODEL.at(place, f"the plan has teacher `{name}` with {wanted}, the model has {has}"))


def find_teacher(
    name: str, plan: TeacherPlan, given: str | Path | None, beside: Path | None, manifest: Manifest | None
) -> tuple[Path, Path]:
    """The folder and the config of a teacher: those `given`, or what the plan names below the working directory or a folder that
    holds the dataset, `beside`.

    Fails with MCD721 where there is none, and with MCD722 where it is not the one that the dataset was compiled with.
    """
    assert plan.weights is not None and plan.config is not None, "the model before training is no file"
    places = [(Path(given), Path(given) / "config.json")] if given is not None else []
    if given is None:
        roots = [Path.cwd(), *(beside.resolve().parents if beside is not None else ())]
        places = [(root / plan.weights, root / plan.config) for root in roots]
    found = next(((folder, config) for folder, config in places if folder.is_dir() and config.is_file()), None)
    if found is None:
        where = f"`{given}` holds no teacher" if given is not None else f"there is no `{plan.weights}` here"
        message = f"{where}, which teacher `{name}` is to be read from"
        help = f"say where it is: `--teacher {name}=FOLDER`, or `supervise(..., teachers={{{name!r}: ...}})`"
        raise Failure(TEACHER_MISSING.at(DataPlace(str(given or plan.weights)), message, help=help))
    if manifest is not None and name in manifest.teachers and teacher_digest(*found) != manifest.teachers[name]:
        message = f"teacher `{name}` in `{found[0].name}` is not the one that the dataset was compiled with"
        raise Failure(TEACHER_CHANGED.at(DataPlace(str(found[0])), message, help="compile the spec again"))
    return found
