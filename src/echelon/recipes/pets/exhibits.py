"""What the report of a run shows of breeds: which are taken for which, how well each is told, and some test images."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.data.storage import Storage, open_storage
from echelon.errors import StorageError
from echelon.recipes.pets.columns import FEATURES, KEY, LABEL
from echelon.recipes.pets.learner import CONFUSION, SvmLearner
from echelon.recipes.pets.results import answers_of
from echelon.recipes.pixels.decode import BrokenImage, decode
from echelon.report.exhibits import ConfusionMatrix, Exhibit, Figures, Gallery, Passages, Sample
from echelon.train.predict import predict_batch

SHOWN = 24
THUMBNAIL = 160
_QUALITY = 80
MOST_IN_MATRIX = 12
"""With more answers a matrix is wider than a page, and its greatest numbers beside the diagonal are listed."""
_CONFUSIONS = 20
_log = logging.getLogger(__name__)


def tables(learner: SvmLearner, arrays: Mapping[str, Any]) -> Iterator[Exhibit]:
    """The confusion matrix, and each answer beside all others."""
    names, counts = learner.problem.answers, arrays[CONFUSION]
    yield ConfusionMatrix(names, counts) if len(names) <= MOST_IN_MATRIX else _confusions(names, counts)
    rows = [
        (each.name, str(each.rows), each.accuracy, each.always_no, each.balanced_accuracy, each.f1)
        for each in answers_of(learner, arrays)
    ]
    lead = "Each against all others. Always no is the accuracy of never saying it, which a classifier has to beat."
    heads = ("answer", "test images", "accuracy", "always no", "balanced accuracy", "F1")
    yield Figures("Each by itself", lead, heads, rows)


def _confusions(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Exhibit:
    """Which answers are taken for which most often."""
    wrong = [
        (names[true], names[said], int(count), sum(map(int, counts[true])))
        for true in range(len(names))
        for said, count in enumerate(counts[true])
        if count and said != true
    ]
    most = sorted(wrong, key=lambda each: -each[2])[:_CONFUSIONS]
    lead = f"The {len(most)} most frequent of {len(wrong)} confusions; results.txt has the whole matrix."
    rows = [(true, said, str(count), str(rows)) for true, said, count, rows in most]
    return Figures("Confusions", lead, ("true", "said", "images", "of"), rows)


def some_images(learner: SvmLearner, model: nn.Module, dataset: Dataset, split: str) -> Exhibit:
    """Some images of a split, the first ones of its shuffled rows: nobody chose them."""
    samples = looked_at(learner, model, dataset, split, min(SHOWN, dataset.rows(split)))
    if any(sample.image is not None for sample in samples):
        return Gallery("Some test images", samples)
    return Passages("Some test images", "Their files are not where they were, so that they are not shown.", samples)


def looked_at(learner: SvmLearner, model: nn.Module, dataset: Dataset, split: str, rows: int) -> list[Sample]:
    """The first rows of a split with what is said of them, and their images wherever these can still be read."""
    if not rows:
        return []
    (batch,) = span_batches(dataset, split, (FEATURES, LABEL, KEY), 0, rows, rows)
    predicted = predict_batch(learner, model, batch)
    keys, said = batch.strings(KEY), predicted["breed"]
    known = learner.problem.concerns(batch[LABEL])
    targets = learner.problem.targets(batch[LABEL]).tolist()
    images = _thumbnails(dataset, keys)
    samples = []
    for row, (key, name) in enumerate(zip(keys, said, strict=True)):
        true = learner.problem.answers[targets[row]] if known[row] else "?"
        fields = {"said": f"{name} ({float(predicted['score'][row]):.2f})", "true": true, "image": key}
        samples.append(Sample(images[row], fields, bool(known[row]) and true == name, text=key))
    return samples


def _thumbnails(dataset: Dataset, keys: Sequence[str]) -> list[bytes | None]:
    """A JPEG file each, None where an image is gone. Stretched to squares, as the network sees them."""
    where = dataset.info.get("images")
    if not where:
        return [None] * len(keys)
    storage = open_storage(where)
    images = [_thumbnail(storage, key) for key in keys]
    if gone := sum(image is None for image in images):
        _log.warning("%d of %d images cannot be read at %s any more, so they are not shown", gone, len(keys), where)
    return images


def _thumbnail(storage: Storage, key: str) -> bytes | None:
    from PIL import Image

    try:
        image, _ = decode(storage.read(key), (THUMBNAIL, THUMBNAIL))
    except (FileNotFoundError, StorageError, BrokenImage):
        return None
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(file, format="JPEG", quality=_QUALITY)
    return file.getvalue()
