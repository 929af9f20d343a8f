"""What rules did, at the end of a run and beside its checkpoints: a callback for any trainer of Hugging Face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..receipts import Receipt
from ..run import write_receipts
from ..supervised import Supervised


class RuleReport(TrainerCallback):
    """Writes `receipts.json` beside every checkpoint and in the output directory, and prints a line per rule at the end.

    `supervised`: the model whose receipts they are. Receipts are those of the first rank.
    """

    def __init__(self, supervised: Supervised) -> None:
        self._supervised = supervised

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Beside the checkpoint that was written."""
        if state.is_world_process_zero:
            self._write(Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """In the output directory, and for people."""
        if state.is_world_process_zero:
            receipts = self._write(Path(args.output_dir))
            if receipts:
                print(summary(receipts))

    def _write(self, folder: Path) -> Sequence[Receipt]:
        receipts = self._supervised.receipts.all()
        if folder.is_dir():
            write_receipts(folder, receipts)
        return receipts


def summary(receipts: Sequence[Receipt]) -> str:
    """A line per rule: rows that it had, its mean loss over the run, and that of its last pass."""
    rows = [("rule", "rows", "mean loss", "last loss")]
    rows += [(r.rule, str(r.rows), _number(r.mean_loss), _number(r.last_loss)) for r in receipts]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
