"""CIFAR-10 as it is published: binary and Python batches (Krizhevsky, "Learning multiple layers of features from
tiny images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html).

A binary batch is records of 1 label byte and 3,072 pixel bytes (red, green, blue planes of 32×32, row by row). A Python
batch is a pickled dictionary; it is read with an unpickler that can build nothing but numbers, texts and numpy arrays.
"""

from __future__ import annotations

import codecs
import io
import pickle
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.images.rows import TEST, TRAIN, Division, Item, Pixels, Problem, Rows, Source

SIDE = 32
PIXELS = 3 * SIDE * SIDE
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

BINARY = re.compile(r"(?:data_batch_\w+|test_batch)\.bin")
PYTHON = re.compile(r"data_batch_\w+|test_batch")
BINARY_META, PYTHON_META = "batches.meta.txt", "batches.meta"

ROWS_AT_ONCE = 1000
IMAGES = 10_000


def find_cifar(storage: Storage, names: Sequence[str], division: Division) -> Source | None:
    """The CIFAR-10 batches among some files of one folder, or None if there are none.

    The test part is test_batch; where it is missing, the training batches are divided.
    """
    for pattern, meta, kind in ((BINARY, BINARY_META, "binary"), (PYTHON, PYTHON_META, "Python")):
        batches = sorted(name for name in names if pattern.fullmatch(name))
        if batches:
            divide = division if division.test_fraction and not any(map(_is_test, batches)) else None
            items = [item for name in batches for item in _items(name, kind == "binary", divide)]
            return Source(f"CIFAR-10 {kind} batches", _classes(storage, meta), tuple(items), (SIDE, SIDE))
    return None


def _is_test(name: str) -> bool:
    return name.startswith("test_batch")


def _items(name: str, binary: bool, division: Division | None) -> list[Item]:
    if division is None:
        return [CifarBatch(name, binary, TEST if _is_test(name) else TRAIN)]
    return [CifarBatch(name, binary, split, division) for split in (TRAIN, TEST)]


def _classes(storage: Storage, meta: str) -> tuple[str, ...]:
    """The names in the file beside the batches; the published ones where it is missing."""
    if not storage.exists(meta):
        return CLASSES
    data = storage.read(meta)
    if meta == BINARY_META:
        names = data.decode().split()
    else:
        names = [_text(name) for name in _entry(load_pickle(data, meta), "label_names", meta)]
    if not names:
        raise DataError(f"{meta} names no classes: download it again, or remove it to use the published names")
    return tuple(names)


@dataclass(frozen=True)
class CifarBatch:
    """One file of batches, or of it the rows that a division gives to one split."""

    name: str
    binary: bool
    split: str
    division: Division | None = None
    images: int = IMAGES

    def rows(self, storage: Storage) -> Iterator[Rows | Problem]:
        data = storage.read(self.name)
        images, labels = read_binary(data, self.name) if self.binary else read_python(data, self.name)
        keys = [f"{self.name}#{index}" for index in range(len(labels))]
        splits = self.division.split_of(keys, labels) if self.division else [self.split] * len(keys)
        kept = [index for index, split in enumerate(splits) if split == self.split]
        for start in range(0, len(kept), ROWS_AT_ONCE):
            indices = kept[start : start + ROWS_AT_ONCE]
            yield Rows(images[indices], labels[indices], [keys[index] for index in indices])


def read_binary(data: bytes, name: str) -> tuple[Pixels, np.ndarray]:
    """Images, uint8 [n, 3, 32, 32], and labels, int64 [n], of a binary batch.

    Raises:
        DataError: the file is cut off, or holds a label above 9.
    """
    count, rest = divmod(len(data), 1 + PIXELS)
    if rest or not count:
        raise DataError(
            f"{name} has {len(data)} bytes, no whole number of records of {1 + PIXELS} bytes: download it again"
        )
    records = np.frombuffer(data, np.uint8).reshape(count, 1 + PIXELS)
    return records[:, 1:].reshape(count, 3, SIDE, SIDE), _checked(records[:, 0], name)


def read_python(data: bytes, name: str) -> tuple[Pixels, np.ndarray]:
    """The same of a Python batch, {"data": uint8 [n, 3072], "labels": n numbers}.

    Raises:
        DataError: the file is no pickle of plain data, or something else is in it.
    """
    batch = load_pickle(data, name)
    images, labels = np.asarray(_entry(batch, "data", name)), np.asarray(_entry(batch, "labels", name))
    if images.dtype != np.uint8 or images.shape != (len(labels), PIXELS) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{name} holds data of {images.dtype} {list(images.shape)} and {len(labels)} labels of {labels.dtype}; "
            f"a CIFAR-10 batch holds uint8 [n, {PIXELS}] and n integers"
        )
    return images.reshape(-1, 3, SIDE, SIDE), _checked(labels, name)


def _checked(labels: np.ndarray, name: str) -> np.ndarray:
    wrong = np.flatnonzero((labels < 0) | (labels >= len(CLASSES)))
    if len(wrong):
        raise DataError(
            f"{name} gives row {wrong[0]} the label {labels[wrong[0]]}, but CIFAR-10 has labels 0…9: download it again"
        )
    return labels.astype(np.int64)


def _entry(batch: Any, key: str, name: str) -> Any:
    """An entry of a dictionary whose keys Python 2 wrote as bytes."""
    found = batch.get(key.encode(), batch.get(key)) if isinstance(batch, dict) else None
    if found is None:
        raise DataError(f"{name} is no CIFAR-10 Python batch: it holds no entry '{key}'")
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 stores bytes. Other codecs are refused, since some of them run code or inflate data."""
    if codecs.lookup(encoding).name != "iso8859-1":
        raise pickle.UnpicklingError(f"the codec {encoding}")
    return text.encode("latin-1")


def _from_buffer(data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]) -> np.ndarray:
    """How protocol 5 stores arrays."""
    return np.frombuffer(data, dtype).reshape(shape, order=order)


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_PERMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode_latin1,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PERMITTED:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return _PERMITTED[module, name]


def load_pickle(data: bytes, name: str) -> Any:
    """The plain value in a pickle: dictionaries, lists, numbers, texts and numpy arrays.

    Raises:
        DataError: it is no pickle, is cut off, or asks for anything else, which is never imported or called.
    """
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        reason = f"it asks for {error}" if "." in str(error) or "codec" in str(error) else str(error)
        raise DataError(f"{name} is refused: {reason}. A CIFAR-10 Python batch holds plain data only") from None
    except Exception as error:
        raise DataError(f"{name} cannot be read as a pickle ({error!r}): download it again") from None
