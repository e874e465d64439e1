"""Rows of a dataset as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

Values = Tensor | list[str]


@dataclass(frozen=True)
class Batch:
    """Some rows of one split.

    columns: by name a tensor [n, …], or a list of n strings. A column of variable length is padded with zeros to the
        longest row of this batch.
    lengths: by name of a column of variable length, how long each row is (int64, [n]).
    rows: the rows' numbers in the split, which are their keys (int64, [n]).
    """

    columns: Mapping[str, Values]
    rows: Tensor
    lengths: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of a column.

        Raises:
            KeyError: there is no such column, or it holds strings (see `strings`).
        """
        value = self.columns.get(name)
        if not isinstance(value, Tensor):
            tensors = [n for n, v in self.columns.items() if isinstance(v, Tensor)]
            raise KeyError(f"no tensor column '{name}' in this batch; there are: {', '.join(tensors) or 'none'}")
        return value

    def strings(self, name: str) -> list[str]:
        """The values of a column of strings."""
        value = self.columns.get(name)
        if not isinstance(value, list):
            raise KeyError(f"no string column '{name}' in this batch; there are: {', '.join(self.columns)}")
        return value

    def slice(self, start: int, end: int) -> Batch:
        """Rows [start, end), over the same memory."""
        if start == 0 and end >= len(self):
            return self
        return Batch(
            {name: value[start:end] for name, value in self.columns.items()},
            self.rows[start:end],
            {name: value[start:end] for name, value in self.lengths.items()},
        )

    def to(self, device: torch.device) -> Batch:
        """The same on a device; row numbers stay where they are."""
        return replace(
            self,
            columns={
                n: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for n, v in self.columns.items()
            },
            lengths={n: v.to(device, non_blocking=True) for n, v in self.lengths.items()},
        )

    def replace(self, **columns: Values) -> Batch:
        """The same rows with these columns put in or exchanged."""
        return replace(self, columns={**self.columns, **columns})
