"""Which device a process computes on: by its place on its host, or as it was told."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager, nullcontext

import torch

from echelon.errors import EchelonError

CPU = torch.device("cpu")
AUTO = "auto"
WANTED = (AUTO, "cpu", "cuda")


def default_device(local_rank: int = 0) -> torch.device:
    """The GPU of this local rank where the host has any, else the CPU. More ranks than GPUs share them in turn."""
    count = torch.cuda.device_count()
    return torch.device("cuda", local_rank % count) if count else CPU


def chosen_device(wanted: str, offered: torch.device, seen: int | None = None) -> torch.device:
    """The device that a worker computes on.

    Args:
        wanted: "cpu", "cuda" for a GPU and nothing else, or "auto" for what is offered.
        offered: by the worker's place, or by Spark. seen: how many GPUs torch sees here; None counts them.

    Raises:
        EchelonError: a GPU is wanted or offered that torch does not see.
    """
    if wanted == "cpu":
        return CPU
    here = f"torch {torch.__version__} on {socket.gethostname()}"
    if offered.type == "cpu":
        if wanted == AUTO:
            return offered
        raise EchelonError(f"--device cuda needs a GPU, but {here} sees none: {_remedy()}, or use --device cpu")
    count = torch.cuda.device_count() if seen is None else seen
    if (offered.index or 0) >= count:
        raise EchelonError(
            f"this worker was given the GPU {offered.index or 0}, but {here} sees {count or 'none'}: "
            f"{_remedy()}, let the discovery script print the numbers that it sees, or use --device cpu"
        )
    return offered


def computing_on(device: torch.device) -> AbstractContextManager[object]:
    """For the length of the block a GPU is the current one, which is what seeds and new streams are for."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def card_of(device: torch.device) -> str:
    """What tells a GPU from every other one of a cluster; "" for the CPU."""
    if device.type != "cuda":
        return ""
    # By its own number: two processes may know one GPU, or two, by the same index.
    return str(torch.cuda.get_device_properties(device).uuid)


def _remedy() -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return "install a build of torch for GPUs"
    return "look at its driver and at CUDA_VISIBLE_DEVICES"
