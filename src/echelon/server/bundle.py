"""Tensors of a model in one piece of memory, as they travel: sent as they lie, and summed and copied in one pass.

With leases of one step every exchange passes over the parameters several times; tensor by tensor this takes longer than
the numbers do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import torch
from torch import Tensor

ALIGNMENT = 16
"""Bytes. Each tensor begins at a multiple of it, since not every processor reads numbers anywhere."""


@dataclass(frozen=True)
class Slot:
    """One tensor of a bundle."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Form:
    """Which tensors a bundle has, and in which order."""

    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], names: Iterable[str] | None = None) -> Form:
        """names: of the tensors to take; None for all of them."""
        chosen = tensors if names is None else {name: tensors[name] for name in names}
        return cls(tuple(Slot(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in chosen.items()))

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Where each tensor begins, in bytes."""
        places, end = [], 0
        for slot in self.slots:
            places.append(-(-end // ALIGNMENT) * ALIGNMENT)
            end = places[-1] + slot.bytes
        return tuple(places)

    @cached_property
    def bytes(self) -> int:
        """Of the whole memory."""
        return self.places[-1] + self.slots[-1].bytes if self.slots else 0

    @cached_property
    def pieces(self) -> list[int]:
        """If all tensors have one type: numbers in the first tensor, in the gap behind it, in the second tensor, …"""
        assert self.dtype is not None
        ends = [place + slot.bytes for place, slot in zip(self.places, self.slots, strict=True)]
        bounds = [bound for pair in zip(self.places, ends, strict=True) for bound in pair]
        return [(end - begin) // self.dtype.itemsize for begin, end in pairwise(bounds)]

    @cached_property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """The bytes between the tensors."""
        ends = [place + slot.bytes for place, slot in zip(self.places, self.slots, strict=True)]
        return tuple((end, place) for end, place in zip(ends, self.places[1:], strict=False) if end < place)

    @cached_property
    def dtype(self) -> torch.dtype | None:
        """That all tensors have; None if they have several."""
        found = {slot.dtype for slot in self.slots}
        return found.pop() if len(found) == 1 else None

    @cached_property
    def described(self) -> list[list[object]]:
        """[[name, dtype, shape], …] for JSON."""
        return [[slot.name, str(slot.dtype).removeprefix("torch."), list(slot.shape)] for slot in self.slots]


@lru_cache(maxsize=64)
def form_of(slots: tuple[Slot, ...]) -> Form:
    """The same object for the same slots, so that what it knows is found out once."""
    return Form(slots)


class Bundle(dict[str, Tensor]):
    """The tensors by name, which are views of `memory`: uint8 [form.bytes], at a multiple of `ALIGNMENT`, on the CPU.

    Between the tensors are zeros.
    """

    def __init__(self, form: Form, memory: Tensor) -> None:
        if form.dtype is not None:
            parts = memory.view(form.dtype).split(form.pieces)[::2]
            super().__init__((slot.name, part.view(slot.shape)) for slot, part in zip(form.slots, parts, strict=True))
        else:
            super().__init__(
                (slot.name, memory[place : place + slot.bytes].view(slot.dtype).view(slot.shape))
                for slot, place in zip(form.slots, form.places, strict=True)
            )
        self.form, self.memory = form, memory

    @classmethod
    def empty(cls, form: Form) -> Bundle:
        """Tensors of any numbers, to be written."""
        memory = torch.empty(form.bytes, dtype=torch.uint8)
        for begin, end in form.gaps:
            memory[begin:end] = 0
        return cls(form, memory)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Bundle:
        """Copies of tensors."""
        bundle = cls.empty(Form.of(tensors))
        for name, tensor in tensors.items():
            bundle[name].copy_(tensor.detach())
        return bundle

    def copied(self) -> Bundle:
        return Bundle(self.form, self.memory.clone())

    @property
    def numbers(self) -> Tensor:
        """All numbers of tensors that have the same type, as one vector, with the zeros between them."""
        assert self.form.dtype is not None
        return self.memory.view(self.form.dtype)
