"""Arrays that are used again once no tensor refers to them any more.

A fresh array of some megabytes costs about as much as copying into it, because the system hands out and clears every
page. Who keeps a batch keeps its memory; nothing is ever overwritten under it.
"""

from __future__ import annotations

import weakref
from collections import deque

import numpy as np
import torch
from torch import Tensor

from echelon.data.schema import Column


class Buffers:
    """Memory for the rows of one column of fixed shape.

    spare: the most arrays that are kept while nobody uses them.
    """

    def __init__(self, column: Column, spare: int = 4) -> None:
        self._column = column
        self._free: deque[np.ndarray] = deque(maxlen=spare)

    def take(self, rows: int) -> tuple[np.ndarray, Tensor]:
        """An array [rows, *shape] of any content, and the tensor over it.

        The memory is used again once the tensor, and all that shares its storage, is gone. Do not keep the array.
        """
        memory = self._large_enough(rows)
        view = memory[:rows]
        # The tensor's storage refers to this view and to no other object, so its end is the end of all tensors.
        weakref.finalize(view, self._free.append, memory).atexit = False
        return view, torch.from_numpy(view)

    def _large_enough(self, rows: int) -> np.ndarray:
        while self._free:
            memory = self._free.pop()
            if len(memory) >= rows:
                return memory
        return np.empty((rows + rows // 8, *self._column.inner), self._column.numpy_dtype)
