"""What carries the tensors of a world: NCCL where every rank has a GPU of its own, else gloo.

NCCL refuses two ranks on one GPU, and knows no CPU. Gloo takes tensors of both, over the memory of the CPU, so ranks
may share GPUs, and hosts with GPUs can work with hosts that have none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist

from echelon.device import card_of
from echelon.errors import CommunicationError
from echelon.world import World

WITHOUT_NCCL = "without NCCL"


@dataclass(frozen=True)
class Backend:
    """name: for torch.distributed. remark: why it is not the one that GPUs want, or ""."""

    name: str
    remark: str = ""

    @property
    def has_nccl(self) -> bool:
        return "nccl" in self.name


GLOO = Backend("gloo")


def backend_of(cards: Sequence[str]) -> Backend:
    """The same choice on every rank.

    Args:
        cards: by rank, what tells its GPU from all others; "" for the CPU; WITHOUT_NCCL where torch lacks it.
    """
    if not any(cards):
        return GLOO
    for why, ranks in (
        ("compute on the CPU", [rank for rank, card in enumerate(cards) if not card]),
        ("have a torch without NCCL", [rank for rank, card in enumerate(cards) if card == WITHOUT_NCCL]),
        ("share a GPU with another", [rank for rank, card in enumerate(cards) if cards.count(card) > 1]),
    ):
        if ranks:
            return Backend("gloo", f"ranks {ranks} {why}, so gradients travel over the CPU (gloo) and not by NCCL")
    # Small messages of the CPU stay with gloo.
    return Backend("cpu:gloo,cuda:nccl")


def agree(world: World, store: dist.Store, seconds: float) -> Backend:
    """The backend of a world whose ranks all call this, from what each has.

    Raises:
        CommunicationError: not all ranks came within `seconds`.
    """
    card = card_of(world.device)
    store.set(_key(world.rank), WITHOUT_NCCL if card and not dist.is_nccl_available() else card)
    keys = [_key(rank) for rank in range(world.size)]
    try:
        store.wait(keys, timedelta(seconds=seconds))
    except RuntimeError as error:
        missing = [rank for rank, key in enumerate(keys) if not store.check([key])]
        raise CommunicationError(
            f"{world}: the meeting of all ranks failed: ranks {missing} did not come within {seconds:.0f} s"
        ) from error
    return backend_of([store.get(key).decode() for key in keys])


def prepare_nccl(interface: str | None) -> None:
    """Settings that NCCL's process group reads when it is made.

    A lost peer shall be an error where it is waited for, which can be reported. Torch's watchdog would end the process
    without a word.
    """
    os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] = "0"
    if interface:
        # Without "=" NCCL takes it for the beginning of a name: eth1 would be eth10, too.
        os.environ["NCCL_SOCKET_IFNAME"] = f"={interface}"


def _key(rank: int) -> str:
    return f"card/{rank}"
