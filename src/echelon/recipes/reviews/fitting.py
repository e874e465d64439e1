"""Reviews that shall be evaluated or predicted: every line is a row, as a trained model wants it, in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from echelon.data.division import TEST
from echelon.data.manifest import Dataset
from echelon.data.schema import Schema
from echelon.recipes.reviews.cleaning import tokens_of
from echelon.recipes.reviews.columns import KEY, LABEL, LENGTH, PRODUCT, TEXT, TOKENS, labels_of, schema_of
from echelon.recipes.reviews.columns import WORDS as VOCABULARY
from echelon.recipes.reviews.gathering import EMPTY, Read, keys_of
from echelon.recipes.reviews.lines import Fields, Reviews
from echelon.recipes.reviews.options import Fitting, PrepareOptions
from echelon.recipes.reviews.sources import Source, bytes_of, divided
from echelon.recipes.reviews.told import counts_of, described, require_good
from echelon.recipes.reviews.vocabulary import Vocabulary
from echelon.spark.prepare import Addition, Found, Rows, Summary, prepare_dataset

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from echelon.recipes.reviews.blocks import Span
    from echelon.spark.job import OnProgress


def prepare_fitting(
    session: SparkSession,
    source: Source,
    fields: Fields,
    url: str,
    options: PrepareOptions,
    fitting: Fitting,
    overwrite: bool,
    on_progress: OnProgress | None,
) -> Dataset:
    """Writes all reviews of a source for a model, see `prepare`."""
    fitting.require_words()
    vocabulary = Vocabulary.of(fitting.words)
    schema = schema_of(fitting.length, vocabulary.ids, text=options.text, product=fields.product is not None)

    def conclude(summary: Summary) -> Addition:
        require_good(summary, options.max_malformed, source.url, "mend them, or leave them out")
        rows, counts = summary.rows, summary.counts
        info = described(fitting.classes, rows, counts, summary, fields, fitting.cleaning, vocabulary.ids)
        return Addition(info, {VOCABULARY: vocabulary.to_asset()})

    dataset, _ = prepare_dataset(
        session,
        url,
        schema,
        divided(session, source),
        _Encode(Read(source.storage, fields, labelled=False), fitting, vocabulary, schema),
        conclude=conclude,
        bytes_of=bytes_of,
        shuffle_seed=None,
        overwrite=overwrite,
        resume=options.resume,
        on_progress=on_progress,
    )
    return dataset


@dataclass(frozen=True)
class _Encode:
    """The rows of a span, in a task."""

    read: Read
    fitting: Fitting
    vocabulary: Vocabulary
    schema: Schema

    def __call__(self, span: Span) -> Iterator[Found]:
        for found in self.read(span):
            if not isinstance(found, Reviews):
                yield found
                continue
            tokens = tokens_of(found.texts, self.fitting.cleaning)
            ids, lengths = self.vocabulary.encode(tokens, self.fitting.length)
            labels = labels_of(found.stars, len(self.fitting.classes))
            split = span.split or TEST
            rows = {TOKENS: ids, LENGTH: lengths, LABEL: labels, KEY: keys_of(span, found)}
            rows |= {PRODUCT: found.products, TEXT: found.texts}
            yield Rows({name: rows[name] for name in self.schema.names}, split)
            yield counts_of(np.full(len(labels), split, dtype=object), labels)
            yield Counter({EMPTY: int(pc.sum(pc.equal(pc.list_value_length(tokens), 0)).as_py() or 0)})
