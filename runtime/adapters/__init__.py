"""Where models keep what rules read, and how they are run.

A Hugging Face model is found by its `model_type`, one entry of `table.ADAPTERS`. Any other `nn.Module` comes with an `Adapter` of
its own: `supervise(model, plan, adapter=Adapter(...))`. Its attention modules call `attention.observe` with the query and key
that they use, which is all that attention rules ask of them. `locate` finds the parts, `checks` holds them against a plan.
"""

from .adapter import Adapter, Parts
from .checks import check_attention, check_contract, check_heads
from .forward import hugging_face_logits, plain_logits
from .locate import locate
from .table import ADAPTERS, LLAMA
from .wrappers import unwrap

__all__ = [
    "ADAPTERS",
    "LLAMA",
    "Adapter",
    "Parts",
    "check_attention",
    "check_contract",
    "check_heads",
    "hugging_face_logits",
    "locate",
    "plain_logits",
    "unwrap",
]
