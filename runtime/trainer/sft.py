"""TRL's `SFTTrainer` under the mixin: it asks for texts and prepares them, where the tokens are in shards already."""

from __future__ import annotations

from typing import Any

from datasets import Dataset as Table
from trl.trainer.sft_config import SFTConfig


def stand_in(values: dict[str, Any]) -> None:
    """Gives the trainer's `__init__` a table of one token in place of the shards, and has it prepare nothing.

    The trainer's own class of table is asked for and looked at there; what reads rows is replaced by the mixin.
    """
    args = values.get("args") or SFTConfig()
    if isinstance(args, SFTConfig):
        given: Any = args.dataset_kwargs or {}
        args.dataset_kwargs = {**given, "skip_prepare_dataset": True}
    values["args"] = args
    values["train_dataset"] = Table.from_dict({"input_ids": [[0]], "labels": [[-100]]})
    values["eval_dataset"] = None if values.get("eval_dataset") is None else values["train_dataset"]
