"""SqueezeNet as its authors published it in half a megabyte: pruned, its weights as numbers of a codebook.

Source: Han, Mao, Dally: "Deep compression", ICLR 2016, and the file and decoder of
https://github.com/songhan/SqueezeNet-Deep-Compression. All little endian: the number of weights that are not zero,
uint32, of each layer; then of each layer its codebook, 256 float32; its bias, float32; for each weight that is not zero
its number in the codebook, uint8; and how many zeros stand before it, 4 bits, two in a byte, the lower ones first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echelon.errors import DataError
from echelon.recipes.pets.networks.squeezenet import FIRES

Tensors = dict[str, NDArray[np.float32]]
_CODES = 256
_CLASSES = 1000


def read_compressed(content: bytes) -> Tensors:
    """The tensors in a file, by the names <layer>/w, [out, in, height, width], and <layer>/b, [out].

    Raises:
        DataError: it is not such a file.
    """
    reader = _Reader(content)
    shapes = _shapes()
    counts = reader.take("<u4", len(shapes))
    tensors: Tensors = {}
    for (layer, shape), count in zip(shapes.items(), counts.tolist(), strict=True):
        codebook = reader.take("<f4", _CODES)
        tensors[f"{layer}/b"] = reader.take("<f4", shape[0])
        codes, skips = reader.take("u1", count), reader.take("u1", -(-count // 2))
        places = np.cumsum(np.stack([skips & 15, skips >> 4], 1).reshape(-1)[:count].astype(np.int64) + 1) - 1
        size = int(np.prod(shape))
        if count and places[-1] >= size:
            raise DataError(f"it has a weight at {places[-1]:,} of {layer}, which has {size:,}")
        weights = np.full(size, codebook[0])
        weights[places] = codebook[codes]
        tensors[f"{layer}/w"] = weights.reshape(shape)
    if reader.left:
        raise DataError(f"it has {reader.left:,} bytes more than SqueezeNet v1.0 takes")
    return tensors


def _shapes() -> dict[str, tuple[int, int, int, int]]:
    """The shapes of the layers' weights, in the order of the file."""
    shapes = {"conv1": (96, 3, 7, 7)}
    for number, (before, squeezed, expanded) in enumerate((FIRES[at] for at in sorted(FIRES)), 2):
        shapes[f"fire{number}/squeeze1x1"] = (squeezed, before, 1, 1)
        shapes[f"fire{number}/expand1x1"] = (expanded, squeezed, 1, 1)
        shapes[f"fire{number}/expand3x3"] = (expanded, squeezed, 3, 3)
    return {**shapes, "conv10": (_CLASSES, 512, 1, 1)}


class _Reader:
    """Takes arrays off the beginning of a file."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    @property
    def left(self) -> int:
        return len(self._content) - self._at

    def take(self, dtype: str, count: int) -> NDArray:
        size = np.dtype(dtype).itemsize * count
        if size > self.left:
            raise DataError(f"it ends after {len(self._content):,} bytes, within SqueezeNet v1.0")
        taken = np.frombuffer(self._content, dtype, count, self._at)
        self._at += size
        return taken
