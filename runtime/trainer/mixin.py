"""Hugging Face's `Trainer` over a supervised model.

    class MyTrainer(mcd.SupervisedMixin, Trainer): ...

    trainer = MyTrainer(model=model, args=args, train_dataset=mcd.load("out", split="train"))
    trainer.train()

`trainer.model` is the model that was given, and is saved as ever. What runs, and what DDP wraps, is `trainer.supervised` around
it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Trainer

from ...dsl.codes.runtime import BESIDE, TRAINER
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..adapters import Adapter
from ..batch import Batch
from ..collate import Collator
from ..dataset import Dataset
from ..flow import projects
from ..order import Sampler
from ..run import PROBES_FILE
from ..supervise import supervise
from ..teachers import GivenTeachers
from .losses import Evaluation, RuleLog, Step
from .order import Batches, EpochCollator, EpochLoader, Order, Share
from .report import RuleReport
from .settings import check_settings, check_trainer

SFT = ("SFTTrainer", "_BaseTrainer")
"""What of TRL's trainers the mixin goes over."""


class SupervisedMixin:
    """In front of a subclass of `transformers.Trainer`, whose datasets are then compiled ones: the loss is that of their plan.

    `supervised` is the model under its plan. Time is the optimiser's steps done over `max_steps`. The micro-batches of a step
    share their denominators, so that their losses add up and nothing is divided by their number. Beside what the trainer takes:
    `adapter`, `teachers` and `chunk`, as for `supervise`.

    Fails with MCD717 for settings that cannot work, with MCD718 where probes are in no optimiser or checkpoint, and as
    `supervise` does.
    """

    loss_is_scaled_for_ga = True
    """What a micro-batch gives is its share of the whole step's loss."""

    # Those of the trainer that are used here; the class behind this one in the order of inheritance has them.
    args: Any
    model: Any
    state: Any
    accelerator: Any
    optimizer: Any
    train_dataset: Any
    eval_dataset: Any
    data_collator: Any
    supervised: Any

    def __init__(
        self,
        *given: Any,
        adapter: Adapter | None = None,
        teachers: GivenTeachers | None = None,
        chunk: int | None = None,
        **options: Any,
    ) -> None:
        found = inspect.signature(super().__init__).bind(*given, **options).arguments
        values = {name: value for name, value in found.items() if name not in ("options", "kwargs")}
        values |= found.get("options", {}) | found.get("kwargs", {})
        train, evaluated = values.get("train_dataset"), values.get("eval_dataset")
        sft = _check_class(type(self))
        check_settings(values.get("args"), values)
        dataset = _first(train, evaluated)
        values["data_collator"] = values.get("data_collator") or Collator(
            dataset.plan, multiple=getattr(values.get("args"), "pad_to_multiple_of", None) or 1
        )
        if sft:
            import_module(".sft", __package__).stand_in(values)
        super().__init__(**values)
        self.train_dataset, self.eval_dataset = train, evaluated
        check_trainer(self, dataset.plan)
        self.supervised = supervise(self.model, dataset, adapter=adapter, teachers=teachers, chunk=chunk)
        # Read by releases of transformers that do not know `loss_is_scaled_for_ga`.
        self.model_accepts_loss_kwargs = True
        self._rule_log = RuleLog()
        self._evaluation: Evaluation | None = None
        self.add_callback(RuleReport(self.supervised))  # type: ignore[attr-defined]

    # --- the data ---

    def get_train_dataloader(self) -> EpochLoader:
        """The rows of `train_dataset` in the order of its plan, every rank its share."""
        if self.train_dataset is None:
            raise Failure(TRAINER.at(None, "there is no `train_dataset` to train on"))
        return self._loader(
            self.train_dataset, self._train_sampler().epoch, self._share(), self.args.dataloader_drop_last
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> EpochLoader:
        """The rows of `eval_dataset`, or of the one that the trainer has, by name where it has several."""
        found = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(found, str):
            found = self.eval_dataset[found]
        check_settings(None, {"eval_dataset": found})
        if found is None:
            raise Failure(TRAINER.at(None, "there is no `eval_dataset` to evaluate on"))
        rows = np.arange(len(found))
        share = Share(self.args.eval_batch_size, self.args.process_index, self.args.world_size)
        return self._loader(found, lambda epoch: rows, share, False)

    def get_test_dataloader(self, test_dataset: Any) -> EpochLoader:
        """The rows of `test_dataset`."""
        return self.get_eval_dataloader(test_dataset)

    def _loader(self, dataset: Dataset, epoch_rows: Any, share: Share, whole: bool) -> EpochLoader:
        args = self.args
        rows: Any = dataset
        collate = EpochCollator(self.data_collator)
        return EpochLoader(
            rows,
            batch_sampler=Batches(epoch_rows, share, dataset.path, whole=whole, collate=collate),
            collate_fn=collate,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory and torch.cuda.is_available(),
            # Masks follow from the epoch, of which processes that outlive one hear nothing.
            persistent_workers=args.dataloader_persistent_workers and dataset.plan.model.causal,
            prefetch_factor=args.dataloader_prefetch_factor,
        )

    def _train_sampler(self) -> Sampler:
        return Sampler(self.train_dataset, self.args.seed if self.args.data_seed is None else self.args.data_seed)

    def _share(self) -> Share:
        return Share(self.args.train_batch_size, self.args.process_index, self.args.world_size)

    def _order(self) -> Order:
        share = self._share()
        return Order.of_steps(self._train_sampler(), share.size * share.ranks * self.args.gradient_accumulation_steps)

    def _prepare_inputs(self, inputs: Any) -> Any:
        return inputs.to(self.args.device) if isinstance(inputs, Batch) else super()._prepare_inputs(inputs)  # type: ignore[misc]

    def floating_point_ops(self, inputs: Any) -> int:
        """Those of a forward and a backward pass of the model, as the trainer reckons them."""
        found: int = super().floating_point_ops({"input_ids": inputs.input_ids})  # type: ignore[misc]
        return found

    def _track_num_input_tokens(self, inputs: Any) -> None:
        tensors = {"input_ids": inputs.input_ids, "attention_mask": inputs.attention_mask}
        super()._track_num_input_tokens(tensors)  # type: ignore[misc]

    # --- a step ---

    @property
    def _time(self) -> float:
        """Steps done over steps in all; the end of training where none was planned."""
        planned = self.state.max_steps
        return min(self.state.global_step / planned, 1.0) if planned else 1.0

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: Any
    ) -> tuple[list[Batch], Step]:
        """The micro-batches of the next step, and what they share."""
        batches = list(islice(epoch_iterator, num_batches))
        self.supervised.train()
        return batches, Step(self.supervised, batches, self._time, self.accelerator.autocast)

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """One micro-batch, forward and backward."""
        with self._apart(model):
            loss: Tensor = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[misc]
        return loss

    def _apart(self, model: nn.Module) -> AbstractContextManager[object]:
        """Under `conflicts = project` ranks are added up by the projection, and by nothing before it."""
        ddp: Any = model
        return ddp.no_sync() if projects(self.supervised.plan) and hasattr(model, "no_sync") else nullcontext()

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of one micro-batch of a step, to be added up with the others, and the logits where they are asked for."""
        if not isinstance(num_items_in_batch, Step):
            message = "a loss was asked for outside of a step, whose micro-batches share their denominators"
            help = "let the trainer's own loop call `compute_loss`, or call `trainer.supervised` yourself"
            raise Failure(TRAINER.at(None, message, help=help))
        out = model(inputs, time=num_items_in_batch.time, totals=num_items_in_batch.totals(self._rule_log))
        self._rule_log.add(out)
        return (out.loss, {"logits": out.logits}) if return_outputs else out.loss

    def log(self, logs: dict[str, float], *rest: Any, **named: Any) -> None:
        """Adds to an entry of training its time, the token loss and the loss of every rule."""
        if "loss" in logs:
            logs |= self._rule_log.read(self.state.global_step)
        super().log(logs, *rest, **named)  # type: ignore[misc]

    # --- evaluation ---

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        """The losses over a whole split, as one step at the present time would have them, `PREFIX_rule/NAME` for each rule."""
        self._evaluation = Evaluation(self.supervised, self._time)
        output = super().evaluation_loop(  # type: ignore[misc]
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
        )
        output.metrics.update(
            {f"{metric_key_prefix}_{name}": value for name, value in self._evaluation.result().items()}
        )
        self._evaluation = None
        return output

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The loss of a batch, and for `compute_metrics` its logits [B, T, V] and tokens [B, T], -100 where they have no loss."""
        assert self._evaluation is not None, "`evaluation_loop` calls this"
        with torch.no_grad(), self.accelerator.autocast():
            batch = self._prepare_inputs(inputs)
            loss, out = self._evaluation.add(model, batch)
        if prediction_loss_only:
            return loss, None, None
        if out.logits is None:
            message = "`chunk` computes the token loss without whole logits, and metrics or predictions ask for them"
            raise Failure(TRAINER.at(None, message, help="leave `chunk` out, or `compute_metrics`"))
        tokens = batch.input_ids if batch.labels is None else batch.labels
        return loss, out.logits, tokens.masked_fill(~batch.scored, -100)

    # --- the model and what stands beside it ---

    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader: Any = None) -> nn.Module:
        """What runs: the supervised model, in training with what the accelerator puts around it."""
        if model is not self.model:
            return model  # It is wrapped already.
        running: nn.Module = self.accelerator.prepare_model(self.supervised) if training else self.supervised
        return running

    def create_optimizer(self, model: Any = None) -> Any:
        """Of all that is trained. Fails with MCD718 where an optimiser that was passed in lacks what stands beside the model."""
        optimizer = super().create_optimizer(self.supervised if model is None else model)  # type: ignore[misc]
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        lacking = sum(id(parameter) not in held for parameter in self.supervised.probes.parameters())
        if lacking:
            message = (
                f"the optimiser lacks {lacking} tensors of probes, maps and learned anchors, which would not be trained"
            )
            help = "pass `optimizer_cls_and_kwargs` instead of `optimizers`, or make it of `trainer.supervised.parameters()`"
            raise Failure(BESIDE.at(None, message, help=help))
        return optimizer

    @property
    def _beside(self) -> bool:
        return next(self.supervised.probes.parameters(), None) is not None

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)  # type: ignore[misc]
        if self.args.should_save and self._beside:
            self.supervised.save_probes(Path(output_dir or self.args.output_dir) / PROBES_FILE)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[misc]
        if self.args.should_save:
            self._order().save(Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self._order().check(Path(resume_from_checkpoint))
        super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        self._load_beside(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        super()._load_best_model()  # type: ignore[misc]
        self._load_beside(Path(self.state.best_model_checkpoint))

    def _load_beside(self, folder: Path) -> None:
        if not self._beside:
            return
        file = folder / PROBES_FILE
        if not file.is_file():
            message = f"the checkpoint `{folder.name}` has no `{PROBES_FILE}`, and the plan trains probes"
            raise Failure(BESIDE.at(DataPlace(str(file)), message, help="resume from a checkpoint of this plan's run"))
        self.supervised.load_probes(file)


class SupervisedTrainer(SupervisedMixin, Trainer):  # type: ignore[misc]
    """Hugging Face's `Trainer` with `SupervisedMixin`."""


def _check_class(kind: type) -> bool:
    """Whether it is TRL's SFT trainer. Fails with MCD717 for another trainer of TRL, whose losses have no place in a plan."""
    theirs = [base.__name__ for base in kind.__mro__ if base.__module__.split(".")[0] == "trl"]
    other = next((name for name in theirs if name not in SFT), None)
    if other is not None:
        message = f"`{other}` has a loss of its own, which no plan can say"
        raise Failure(TRAINER.at(None, message, help="supervise under `Trainer` or `SFTTrainer`"))
    return bool(theirs)


def _first(train: Any, evaluated: Any) -> Dataset:
    """The dataset whose plan it is. Fails with MCD717 where there is none."""
    found = evaluated if train is None else train
    found = next(iter(found.values()), None) if isinstance(found, Mapping) else found
    if found is None:
        message = (
            "a trainer needs the compiled dataset whose plan it follows, and has neither train_dataset nor eval_dataset"
        )
        raise Failure(TRAINER.at(None, message, help='pass `train_dataset=mcd.load("out", split="train")`'))
    assert isinstance(found, Dataset), "`check_settings` looks"
    return found
