"""From files of sound to a dataset of windows, by tasks of Spark."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from echelon.data.cells import Decoded
from echelon.data.division import TRAIN, Division
from echelon.data.manifest import Dataset
from echelon.recipes.music.audio import check_decoders
from echelon.recipes.music.columns import CODE_COUNTS, CONTEXT, OFFSET, PAIR_COUNTS, SAMPLES, Form, schema_of
from echelon.recipes.music.listening import Wish
from echelon.recipes.music.mulaw import CODES
from echelon.recipes.music.options import ENDINGS, PrepareOptions
from echelon.recipes.music.reading import ReadSongs
from echelon.recipes.music.sources import Source, bytes_of, find_songs
from echelon.recipes.music.told import damaged, durations, twins
from echelon.recipes.music.windows import pairs_of
from echelon.spark import prepare as spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from echelon.spark.job import OnProgress

_PART_BYTES, _MOST_PARTS = 24 << 20, 10_000
_log = logging.getLogger(__name__)


def prepare(
    session: SparkSession,
    source: str,
    url: str,
    options: PrepareOptions,
    *,
    fitting: Form | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Writes the songs of files of sound as a dataset of windows at a URL, see `schema_of`.

    Its info has the form of the windows ("rate", "window", "context", "normalised"), how many windows each split has
    ("counts"), how many songs and seconds ("songs"), how long the files said to be and were ("durations"), what is
    lost of songs that are not whole ("damaged"), which songs have the same codes ("twins"), how many files are of other
    kinds ("others"), how many songs have each licence, where a manifest says it ("licences"), and "problems" with the
    reasons for all that was left out. Its assets are `CODE_COUNTS` and `PAIR_COUNTS`.

    Args:
        source: see `find_songs`. fitting: what a learner was trained on, to evaluate or to predict: all of each song is
            for testing then. overwrite: whether a dataset at this URL may be replaced. on_progress: called from time to
            time.

    Raises:
        DataError: there are no songs, or not one is good. EchelonError: a package is missing, or Spark's tasks failed.
    """
    check_decoders()
    form = fitting or Form(options.rate, options.window, options.context, options.normalise)
    if fitting is None:
        found = find_songs(source, options.endings, Division(options.test_fraction, options.split_seed))
    else:
        found = find_songs(source, ENDINGS, Division(1, 0))
    wish = Wish(form.rate, options.from_second, options.seconds)
    dataset, _ = spark.prepare_dataset(
        session,
        url,
        schema_of(),
        found.items,
        ReadSongs(found.storage, form, wish, options.min_seconds),
        conclude=_Conclude(found, form),
        sums_of=_sums,
        parts=_parts(found, form),
        shuffle_seed=options.shuffle_seed,
        compression=options.compression,
        overwrite=overwrite,
        resume=options.resume,
        on_progress=on_progress,
    )
    return dataset


def _parts(source: Source, form: Form) -> int:
    """Enough for several cores to count and write, even of a few hours."""
    codes = sum(bytes_of(item, form.rate) for item in source.items)
    return max(1, min(_MOST_PARTS, codes * (form.window + form.context) // form.window // _PART_BYTES))


def _sums(split: str, rows: Mapping[str, Decoded]) -> Mapping[str, np.ndarray]:
    """Of some windows of a split: how many begin a song, how many codes are their own, and of these the pairs."""
    samples: list[np.ndarray] = rows[SAMPLES]  # type: ignore[assignment]
    contexts = np.asarray(rows[CONTEXT])
    own = sum(map(len, samples)) - int(contexts.sum())
    sums = {"songs": np.array((np.asarray(rows[OFFSET]) == 0).sum()), "codes": np.array(own)}
    return {**sums, "pairs": pairs_of(samples, contexts.tolist())} if split == TRAIN else sums


@dataclass(frozen=True)
class _Conclude:
    """What belongs to the dataset beside its rows."""

    source: Source
    form: Form

    def __call__(self, summary: spark.Summary) -> spark.Addition:
        form, sums = self.form, summary.sums
        for split in sorted({song.split for song in self.source.songs} - set(summary.rows)):
            _log.warning("not one song to %s on was good: take another --split-seed", split)
        same = twins(summary.counts)
        for first, *_ in (group for group in same if len(set(group.values())) > 1):
            _log.warning("%s is both trained and tested on, since it is there twice: see twins in its manifest", first)
        info: dict[str, Any] = {
            "recipe": "music",
            "rate": form.rate,
            "window": form.window,
            "context": form.context,
            "normalised": form.normalised,
            "counts": dict(summary.rows),
            "songs": {
                split: {"count": int(of["songs"]), "seconds": round(int(of["codes"]) / form.rate, 3)}
                for split, of in sums.items()
            },
            "durations": durations(summary.counts),
            "damaged": damaged(summary.counts),
            "twins": [sorted(group) for group in same],
            "others": dict(self.source.others),
            "licences": self._licences(),
            **summary.info,
        }
        pairs = sums[TRAIN]["pairs"] if TRAIN in sums else np.zeros((CODES, CODES), np.int64)
        return spark.Addition(info, {CODE_COUNTS: pairs.sum(axis=0), PAIR_COUNTS: pairs})

    def _licences(self) -> dict[str, int]:
        known = (self.source.known.get(song.path) for song in self.source.songs)
        return dict(sorted(Counter(song.licence for song in known if song is not None).items()))
