"""From JSON lines to a dataset of reviews, by tasks of Spark.

Lines are read and cleaned once; large files are read once before that, to count lines. Reviews travel through one
shuffle, to places that depend on their texts, so that equal texts meet and the order is random. Gathered there, in
files beside the dataset, they wait for the vocabulary: the words of the training reviews are counted, the most
frequent come to the driver, and each file becomes one of the dataset. A prepare that goes on where another one was
killed keeps what that had gathered; the rest takes less time, and is done anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from echelon.data.cells import decode
from echelon.data.commit import SCRATCH
from echelon.data.division import TRAIN, Division
from echelon.data.manifest import MANIFEST, DataFile, Dataset, open_dataset
from echelon.data.schema import Schema
from echelon.data.storage import open_storage
from echelon.errors import DataError
from echelon.recipes.reviews.columns import (
    CLASSES,
    KEY,
    LABEL,
    LENGTH,
    PRODUCT,
    TEXT,
    TOKENS,
    labels_of,
    schema_of,
)
from echelon.recipes.reviews.columns import WORDS as VOCABULARY
from echelon.recipes.reviews.fields import find_fields
from echelon.recipes.reviews.fitting import prepare_fitting
from echelon.recipes.reviews.gathering import (
    DIGEST,
    GIVEN,
    SAME_TEXTS,
    VOTES,
    WORDS,
    Gather,
    Read,
    gathered_schema,
    splits_of,
    stars_of,
)
from echelon.recipes.reviews.lines import Fields
from echelon.recipes.reviews.old_tables import prepare_tables
from echelon.recipes.reviews.options import Fitting, PrepareOptions
from echelon.recipes.reviews.sources import Source, bytes_of, divided, find_source
from echelon.recipes.reviews.told import counts_of, described, require_good
from echelon.recipes.reviews.vocabulary import Vocabulary
from echelon.spark.counted import most_frequent
from echelon.spark.ledger import Ledger, begin, plan_of
from echelon.spark.prepare import Addition, Rows, Summary, prepare_dataset
from echelon.spark.rewritten import Rewritten, batches_of, rewrite_dataset

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from echelon.spark.job import OnProgress

_PLAN, _SUMMARY = "plan", "summary"
"""What gathered reviews say of themselves."""


def prepare(
    session: SparkSession,
    source: str,
    url: str,
    options: PrepareOptions,
    *,
    fitting: Fitting | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Writes reviews as a dataset at a URL, see `schema_of`.

    A text that occurs several times is one row, the first, with the rating that most gave it (of equally many the lower
    one). Texts without a word are left out. Products, where reviews name them, are in one split each.

    Its info has the names of the classes, the rows of each class by split, what became of the lines ("lines",
    "malformed", "empty", "duplicates"; "damaged" names zipped files that end too early) and how texts were cleaned. Its
    asset "words" is the vocabulary.

    Args:
        source: see `find_source`. fitting: the dataset is for a trained model, to evaluate or to predict: it gets its
            vocabulary, length, classes and cleaning; each line is a row, in the lines' order, for testing unless it is
            in a folder of another split; ratings may be missing (-1), and a text without words is one that is not
            known. Reviews stand in the fields of those that it was trained on, or else in usual ones.
        overwrite: whether a dataset at this URL may be replaced. on_progress: called from time to time.

    Raises:
        DataError: there are no reviews, too many lines are malformed (names the first), the fields are not there, or
        what a killed prepare left is of other lines or options.
        EchelonError: Spark's tasks failed.
    """
    found = find_source(source)
    if found.hdf5:
        return prepare_tables(
            session, found, url, options, fitting=fitting, overwrite=overwrite, on_progress=on_progress
        )
    fields = find_fields(found.storage, found.files, options, fitting=fitting)
    if fitting is not None:
        return prepare_fitting(session, found, fields, url, options, fitting, overwrite, on_progress)
    storage, text, product = open_storage(url), options.text, fields.product is not None
    gather = Gather(
        Read(found.storage, fields),
        options.cleaning,
        options.length,
        options.shuffle_seed,
        gathered_schema(text=text, product=product),
    )
    ledger = begin(storage, plan_of([found.files, gather], {}), overwrite=overwrite, resume=options.resume)
    gathered, summary = _gathered(session, found, gather, ledger, options.resume, on_progress)
    require_good(summary, options.max_malformed, found.url, "--max-malformed lets more of them be left out")
    vocabulary = _vocabulary(session, gathered, options, on_progress)
    schema = schema_of(options.length, vocabulary.ids, text=text, product=product)
    dataset = rewrite_dataset(
        session,
        gathered,
        storage,
        schema,
        _Encode(options, vocabulary, gathered.schema, schema),
        conclude=_Conclude(options, fields, vocabulary, summary),
        ledger=ledger,
        on_progress=on_progress,
    )
    storage.delete_tree(SCRATCH)
    return dataset


def _gathered(
    session: SparkSession,
    source: Source,
    gather: Gather,
    ledger: Ledger,
    resume: bool,
    on_progress: OnProgress | None,
) -> tuple[Dataset, Summary]:
    """The reviews, each text once, beside the dataset; those that a killed prepare has gathered, where it had them all.

    They say of which plan they are, since who was killed as it cleared the folder may have left those of another one.
    """
    storage = open_storage(ledger.url).child(SCRATCH)
    if resume and storage.exists(MANIFEST):
        gathered = open_dataset(storage.url)
        if gathered.info.get(_PLAN) == ledger.plan:
            return gathered, Summary.from_json(gathered.info[_SUMMARY])
    return prepare_dataset(
        session,
        storage.url,
        gather.schema,
        divided(session, source),
        gather,
        merge=SAME_TEXTS,
        conclude=lambda summary: Addition({_PLAN: ledger.plan, _SUMMARY: summary.to_json()}, {}),
        bytes_of=bytes_of,
        compression="lz4",
        overwrite=True,
        resume=resume,
        on_progress=on_progress,
    )


def _vocabulary(
    session: SparkSession, gathered: Dataset, options: PrepareOptions, on_progress: OnProgress | None
) -> Vocabulary:
    files = [file for split in gathered.splits for file in gathered.manifest.files(split)]
    words = _TrainingWords(gathered, Division(options.test_fraction, options.split_seed))
    return Vocabulary.of(
        [word for word, _ in most_frequent(session, files, words, options.words, on_progress=on_progress)]
    )


@dataclass(frozen=True)
class _TrainingWords:
    """The words of training reviews in a file of gathered ones, in a task."""

    gathered: Dataset
    division: Division

    def __call__(self, file: DataFile) -> Iterator[pa.Array]:
        needed = [name for name in (DIGEST, GIVEN, PRODUCT, WORDS) if name in self.gathered.schema.names]
        for rows in batches_of(self.gathered, file, needed):
            training = pa.array(splits_of(rows, self.division) == TRAIN)
            yield _split(rows.column(WORDS).filter(training)).values


@dataclass(frozen=True)
class _Encode:
    """Gathered reviews as rows of the dataset, in a task."""

    options: PrepareOptions
    vocabulary: Vocabulary
    gathered: Schema
    schema: Schema

    def __call__(self, rows: pa.RecordBatch) -> Iterator[Rows | Counter[str]]:
        ids, lengths = self.vocabulary.encode(_split(rows.column(WORDS)), self.options.length)
        votes = decode(self.gathered.select((VOTES,)), rows)[VOTES]
        labels = labels_of(stars_of(np.asarray(votes)), self.options.classes)
        splits = splits_of(rows, Division(self.options.test_fraction, self.options.split_seed))
        values = {TOKENS: ids, LENGTH: lengths, LABEL: labels}
        values |= {name: rows.column(name) for name in (KEY, PRODUCT, TEXT) if name in self.schema.names}
        yield Rows(values, splits.tolist())
        yield counts_of(splits, labels)


def _split(words: pa.StringArray) -> pa.ListArray:
    """What `joined` joined; no text is without words."""
    return pc.split_pattern(words, " ")


@dataclass(frozen=True)
class _Conclude:
    """What belongs to the dataset beside its rows."""

    options: PrepareOptions
    fields: Fields
    vocabulary: Vocabulary
    summary: Summary

    def __call__(self, rewritten: Rewritten) -> tuple[Mapping[str, Any], Mapping[str, NDArray]]:
        if TRAIN not in rewritten.rows:
            raise DataError("there are no training reviews: lower --test-fraction, or give files of the split train")
        options, rows, counts = self.options, rewritten.rows, rewritten.counts
        classes, cleaning = CLASSES[options.classes], options.cleaning
        info = described(classes, rows, counts, self.summary, self.fields, cleaning, self.vocabulary.ids)
        return info, {VOCABULARY: self.vocabulary.to_asset()}
