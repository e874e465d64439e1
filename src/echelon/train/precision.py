"""The precision of the forward pass. Weights, their gradients and the optimizer stay in single precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echelon.errors import EchelonError

PRECISIONS = ("fp32", "bf16")
_CPU_FLAGS = Path("/proc/cpuinfo")
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What Linux calls the instructions of x86 and Arm processors."""


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Automatic mixed precision in bfloat16, or nothing for fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def check_precision(precision: str, device: torch.device, cpu_flags: str | None = None) -> str:
    """What a user should know of the precision on this device, or "".

    Args:
        cpu_flags: the features of the processor in Linux's words; None reads /proc/cpuinfo.

    Raises:
        EchelonError: the GPU cannot compute in it.
    """
    if precision != "bf16":
        return ""
    if device.type == "cuda":
        with torch.cuda.device(device):
            if not torch.cuda.is_bf16_supported(including_emulation=False):
                raise EchelonError(
                    f"the GPU {torch.cuda.get_device_name(device)} has no bf16 (it takes compute capability 8.0 or "
                    "more): use --precision fp32"
                )
        return ""
    if cpu_flags is None:
        cpu_flags = _CPU_FLAGS.read_text(errors="replace") if _CPU_FLAGS.exists() else ""
    if cpu_flags and not _BF16_FLAGS & set(cpu_flags.split()):
        return "this processor has no instructions for bf16, so --precision bf16 saves memory at best, and no time"
    return ""


def check_loss(loss: Tensor) -> None:
    """
    Raises:
        EchelonError: the loss was added up in half precision, in which a sum of 300 is 300 and one of 301 is not.
    """
    if loss.dtype in (torch.bfloat16, torch.float16):
        raise EchelonError(
            f"the learner's loss is {loss.dtype}, which has three digits, under --precision bf16: "
            "let it take the model's output as .float()"
        )
