"""What a trainer may be told, and what cannot work: refused by name, all of it at once, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from ...compiler.plan import Plan
from ...dsl.codes.runtime import TRAINER
from ...dsl.diagnostics import Failure
from ..collate import Collator
from ..dataset import Dataset
from ..flow import projects, trains_partly

Refused: TypeAlias = tuple[str, str]
"""What was asked for and why it cannot be; what to do."""

ROWS = "the order of the rows is the plan's `curriculum`"
LOSS = "the loss is the plan's"
WEIGHTS = "say it in the spec, by `weigh` or `keep`"


def check_settings(args: Any, options: Mapping[str, Any]) -> None:
    """Fails with MCD717 for what the arguments of a trainer ask for and supervision cannot give.

    `args`: a `TrainingArguments` or `SFTConfig`, None for the trainer's own; `options`: the other arguments, by name.
    """
    _refuse([*_of_options(options), *(() if args is None else (*_of_arguments(args), *_of_sft(args, options)))])


def check_trainer(trainer: Any, plan: Plan) -> None:
    """The same for what is known when the trainer stands: its accelerator, and its model."""
    _refuse(list(_of_trainer(trainer, plan)))


def _refuse(found: list[Refused]) -> None:
    if found:
        raise Failure(*(TRAINER.at(None, what, help=help) for what, help in found))


def _datasets(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What was given as datasets, each with the name of its argument; of `eval_dataset` there may be several."""
    for name in ("train_dataset", "eval_dataset"):
        given = options.get(name)
        for each in given.values() if isinstance(given, Mapping) else [given]:
            if each is not None:
                yield name, each


def _of_options(options: Mapping[str, Any]) -> Iterator[Refused]:
    for name, each in _datasets(options):
        if not isinstance(each, Dataset):
            message = f"`{name}` is a compiled dataset, found a `{type(each).__name__}`"
            yield message, 'open the compiled directory: `mcd.load("out", split="train")`'
    collator = options.get("data_collator")
    if collator is not None and not isinstance(collator, Collator):
        yield f"`data_collator` is a `mcd.Collator`, found a `{type(collator).__name__}`", "leave it out"
    if options.get("compute_loss_func") is not None:
        yield f"`compute_loss_func` would replace a loss: {LOSS}", "override `compute_loss` and add to its value"
    if options.get("model_init") is not None:
        yield "`model_init` makes models that no plan is attached to", "pass `model=`"
    if options.get("formatting_func") is not None:
        yield (
            "`formatting_func` makes texts of records: they are in the shards",
            "write a template in the spec's source",
        )
    if options.get("quantization_config") is not None:
        yield "`quantization_config` was not tried", "pass a model that is loaded already"


_ORDER = ("group_by_length", "batch_rebalance", "sequential")

_FLAGS: tuple[tuple[str, str, str], ...] = (
    ("label_smoothing_factor", f"changes the loss of tokens: {LOSS}", "leave it out"),
    ("use_liger_kernel", "replaces the modules that rules read", "leave it out"),
    ("auto_find_batch_size", "begins a run again in the middle, with another order of rows", "choose a batch size"),
    ("deepspeed", "keeps gradients and states where no rule reaches them", "use DDP"),
    ("fsdp", "takes a model in parts before it is supervised", "use a bare loop, or DDP"),
    ("torch_compile", "compiles the losses too, again for every time", "leave it out"),
    ("predict_with_generate", "evaluates texts, where a plan has losses", "call `model.generate` yourself"),
    ("group_by_length", f"sorts the rows: {ROWS}", "say `order = length` in the spec"),
)
"""Settings that are refused where they are set: name, why, what to do."""


def _of_arguments(args: Any) -> Iterator[Refused]:
    for name, why, help in _FLAGS:
        if getattr(args, name, None):
            yield f"`{name}` {why}", help
    strategy = getattr(args, "train_sampling_strategy", "")
    strategy = str(getattr(strategy, "value", strategy))
    if strategy in _ORDER:
        help = "say `order = length` in the spec" if strategy != "sequential" else "leave it out"
        yield f'`train_sampling_strategy="{strategy}"` sorts the rows: {ROWS}', help
    if args.n_gpu > 1:
        message = f"{args.n_gpu} GPUs in one process make `DataParallel`, whose copies of the model no hook is on"
        yield message, "launch with `torchrun`, or make one GPU visible with `CUDA_VISIBLE_DEVICES`"
    if getattr(args, "parallelism_config", None) is not None:
        yield "`parallelism_config` cuts rows or matrices over ranks, where rules read whole rows", "use DDP"
    if "inputs" in (getattr(args, "include_for_metrics", None) or ()):
        yield '`include_for_metrics=["inputs"]` needs inputs that are tensors by name', "read them from the dataset"
    accelerator = getattr(args, "accelerator_config", None)
    for name in ("split_batches", "dispatch_batches"):
        if getattr(accelerator, name, None):
            yield f"`accelerator_config.{name}` shares out batches another way: {ROWS}", "leave it out"
    for name in ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"):
        if (getattr(args, name, None) or {}).get("use_reentrant"):
            message = f'`{name}={{"use_reentrant": True}}` computes blocks again where no pass is being read'
            yield message, 'use `{"use_reentrant": False}`'


def _of_sft(args: Any, options: Mapping[str, Any]) -> Iterator[Refused]:
    """Settings that TRL's `SFTConfig` has and `TrainingArguments` does not. Texts, tokens and weights come from shards."""
    flags = (
        ("packing", "cuts and joins the rows of shards", "leave it out"),
        ("eval_packing", "cuts and joins the rows of shards", "leave it out"),
        ("padding_free", "makes one row of a batch, where rules count in rows", "leave it out"),
        (
            "completion_only_loss",
            f"leaves out tokens: {LOSS}",
            f"{WEIGHTS}: `weigh reply: slot(.completion) {{ only = true }}`",
        ),
        ("assistant_only_loss", f"leaves out tokens: {LOSS}", WEIGHTS),
        ("chat_template_path", "renders texts again: they are in the shards", "name the template in the spec's source"),
        ("activation_offloading", "was not tried", "leave it out"),
    )
    for name, why, help in flags:
        if getattr(args, name, None):
            yield f"`{name}` {why}", help
    if getattr(args, "loss_type", "nll") not in ("nll", "chunked_nll"):
        yield f'`loss_type="{args.loss_type}"` is another loss of tokens: {LOSS}', 'use `loss_type="nll"`'
    longest = getattr(args, "max_length", None) or 0
    for name, each in _datasets(options) if longest else ():
        found = int(each.lengths().max(initial=0)) if isinstance(each, Dataset) else 0
        if found > longest:
            message = f"`max_length={longest}` would cut rows of `{name}`, which have up to {found} tokens"
            yield message, f"compile with `context = {longest}`, or set `max_length=None`"


def _of_trainer(trainer: Any, plan: Plan) -> Iterator[Refused]:
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        wrapper = "deepspeed" if trainer.is_deepspeed_enabled else "FSDP"
        yield f"{wrapper} comes from the launcher's configuration, and was not tried under a trainer", "use DDP"
    config: Any = getattr(trainer.model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    if getattr(text, "output_router_logits", False):
        message = f"`{type(trainer.model).__name__}` adds a loss of its router, which no plan has"
        yield message, "set `output_router_logits` of its config to False (`router_aux_loss_coef=0.0` in TRL)"
    if projects(plan) and trainer.args.fp16:
        yield "`fp16` scales losses, which was not tried with `conflicts = project`", "use `bf16=True`"
    if trainer.compute_metrics is not None and trainer.args.world_size > 1:
        yield "`compute_metrics` gathers logits, of which ranks have unequally many", "evaluate in one process"
    if trains_partly(plan) and trainer.args.world_size > 1 and trainer.args.ddp_find_unused_parameters is False:
        message = "`ddp_find_unused_parameters=False` waits for gradients that the plan's `depth`, `train` or `stop` leave out"
        yield message, "leave it out"
