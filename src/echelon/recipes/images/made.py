"""Small sets in the public formats: made ones for tests and trials, and real handwritten digits for the demo."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echelon.errors import EchelonError
from echelon.recipes.images.cifar import BINARY_META, CLASSES, PIXELS, PYTHON_META, SIDE
from echelon.recipes.images.datum import message
from echelon.recipes.images.rows import TEST, TRAIN, Pixels

Labelled = tuple[Pixels, NDArray[np.int64]]


def made_images(count: int, classes: int, size: tuple[int, int] = (SIDE, SIDE), seed: int = 0) -> Labelled:
    """Images that a small network can tell apart: each class is a brightness pattern of its own, under noise.

    Returns:
        Images, uint8 [count, 3, H, W], and labels, int64 [count], in equal parts.
    """
    patterns = np.random.default_rng(1234).uniform(60, 196, (classes, 3, 4, 4))
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % classes
    rows = np.arange(size[0]) * 4 // size[0]
    columns = np.arange(size[1]) * 4 // size[1]
    images = patterns[:, :, rows][:, :, :, columns][labels]
    noisy = images + random.normal(0, 30, images.shape)
    return noisy.clip(0, 255).round().astype(np.uint8), labels


def write_cifar_binary(folder: Path, train: list[Labelled], test: Labelled | None) -> None:
    """data_batch_1.bin …, test_batch.bin and batches.meta.txt. The labelled images are 32×32 of 10 classes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (images, labels) in _named(train, test):
        records = np.concatenate([labels[:, None].astype(np.uint8), images.reshape(len(labels), PIXELS)], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / BINARY_META).write_text("\n".join(CLASSES) + "\n\n")


def write_cifar_python(folder: Path, train: list[Labelled], test: Labelled | None) -> None:
    """data_batch_1 …, test_batch and batches.meta, pickled by protocol 2 with keys of bytes, as published."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (images, labels) in _named(train, test):
        batch = {
            b"batch_label": name.encode(),
            b"labels": labels.tolist(),
            b"data": images.reshape(len(labels), PIXELS),
            b"filenames": [f"{name}_{index}.png".encode() for index in range(len(labels))],
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    meta = {b"num_cases_per_batch": 10000, b"label_names": [c.encode() for c in CLASSES], b"num_vis": PIXELS}
    (folder / PYTHON_META).write_bytes(pickle.dumps(meta, protocol=2))


def _named(train: list[Labelled], test: Labelled | None) -> list[tuple[str, Labelled]]:
    batches = [(f"data_batch_{number}", batch) for number, batch in enumerate(train, 1)]
    return batches + ([("test_batch", test)] if test else [])


def write_class_folders(folder: Path, parts: dict[str, Labelled], classes: list[str]) -> None:
    """PNG files at <part>/<class>/<number>.png; a part called "" has its class folders in `folder` itself."""
    for part, (images, labels) in parts.items():
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / part / classes[label] / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(to_png(image))


def write_digits(folder: Path, test_fraction: float = 0.2, seed: int = 0) -> None:
    """The 1,797 handwritten digits of scikit-learn (UCI, Alpaydin & Kaynak 1998), 8×8 and grey, as PNG class folders
    below train/ and test/.

    Raises:
        EchelonError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise EchelonError("the digits of the demo come with scikit-learn: pip install 'echelon[demo]'") from None
    digits = load_digits()
    images = (digits.images * (255 / 16)).round().astype(np.uint8)[:, None]
    order = np.random.default_rng(seed).permutation(len(images))
    held_out, kept = np.split(order, [round(test_fraction * len(images))])
    parts = {part: (images[rows], digits.target[rows]) for part, rows in ((TRAIN, kept), (TEST, held_out))}
    write_class_folders(folder, parts, [str(digit) for digit in range(10)])


def to_png(image: Pixels) -> bytes:
    """An image, uint8 [3, H, W] or grey [1, H, W], as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    pixels = image.transpose(1, 2, 0) if len(image) == 3 else image[0]
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="PNG")
    return file.getvalue()


def write_tar(path: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """A tar archive of files, given as names and contents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_imagenet(folder: Path, train: Labelled, val: Labelled, classes: Sequence[str]) -> None:
    """As ImageNet is distributed: train/<class>.tar each, val.tar with val.txt, and synset_words.txt. The classes are
    lines of that file: an id and words.
    """
    ids = [name.split()[0] for name in classes]
    for label, name in enumerate(ids):
        images = [image for image, its in zip(*train, strict=True) if its == label]
        write_tar(folder / "train" / f"{name}.tar", [(f"{name}_{i}.png", to_png(x)) for i, x in enumerate(images)])
    write_tar(folder / "val.tar", [(f"val_{i:08d}.png", to_png(image)) for i, image in enumerate(val[0])])
    lines = [f"val_{i:08d}.png {label}\n" for i, label in enumerate(val[1])]
    (folder / "val.txt").write_text("".join(lines))
    (folder / "synset_words.txt").write_text("".join(f"{name}\n" for name in classes))


def write_database(folder: Path, records: Sequence[tuple[bytes, bytes]]) -> None:
    """An LMDB of keys and values.

    Raises:
        ImportError: lmdb is not installed.
    """
    import lmdb

    folder.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(folder), map_size=1 << 28) as database, database.begin(write=True) as view:
        for key, value in records:
            view.put(key, value)


def to_datum(image: Pixels, label: int | None, *, encoded: bool = False) -> bytes:
    """An image, uint8 [C, H, W], as Caffe's convert_imageset writes it: blue first, or encoded (here as PNG)."""
    datum = message()(channels=len(image), height=image.shape[1], width=image.shape[2], encoded=encoded)
    datum.data = to_png(image) if encoded else np.ascontiguousarray(image[::-1]).tobytes()
    if label is not None:
        datum.label = label
    return bytes(datum.SerializeToString())
