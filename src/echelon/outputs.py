"""Writes what a run's model makes of every row as a dataset, each row exactly once.

Nothing is deleted before something has been made. What a failure leaves is known as half-written, and cleared by the
next try.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from torch import nn

from echelon.data.cells import encode
from echelon.data.commit import check_free, commit, start
from echelon.data.manifest import MANIFEST, DataFile, Dataset
from echelon.data.part_writer import PartWriter
from echelon.data.schema import Schema
from echelon.data.storage import Storage, open_storage
from echelon.driver import Place
from echelon.errors import DataError, EchelonError
from echelon.spans import Share, Span, Work, over, shares_of
from echelon.train.predict import Columns, Output, check_same, output_span, schema_of

_ROWS_TO_TRY = 2


def write_outputs(
    work: Work,
    output: Output,
    out: str,
    place: Place,
    *,
    split: str | None,
    overwrite: bool,
    info: Mapping[str, str],
    before: Callable[[Dataset], None] | None = None,
) -> Dataset:
    """Writes a dataset with the same splits, in the same order.

    Args:
        split: default all of them. overwrite: whether a dataset at `out` may be replaced. info: what its manifest says
        beside the run, the step of the checkpoint and the dataset that it is about. before: as in `commit`.

    Raises:
        EchelonError: there is no such split, nothing can be made of the rows, there is a dataset at `out`, or `out` is
        where the rows come from.
    """
    dataset, storage = work.dataset, open_storage(out)
    shares = shares_of(dataset, chosen_splits(dataset, split), place)
    _check_apart(storage, dataset)
    replaces = MANIFEST in check_free(storage, overwrite)
    if place.on_spark:
        if replaces:
            # What is there outlives a model that cannot make anything.
            over(place, work, _Try(output), shares[:1])
        start(storage, overwrite=overwrite)
    write = _Write(storage, output, not place.on_spark, overwrite)
    told = [json.loads(told) for told in over(place, work, write, shares)]
    schema = Schema.from_json(told[0]["schema"])
    for each in told:
        check_same(output, work.learner, schema, Schema.from_json(each["schema"]))
    files: dict[str, list[DataFile]] = {name: [] for name in dataset.splits}
    for name, file in chain.from_iterable(each["files"] for each in told):
        files[name].append(DataFile.from_json(file))
    return commit(
        storage,
        schema,
        {name: tuple(of_split) for name, of_split in files.items() if of_split},
        info={"run": work.run, "step": work.checkpoint.step, "dataset": dataset.url, **info},
        shuffled=False,
        before=before,
    )


def _check_apart(out: Storage, dataset: Dataset) -> None:
    """
    Raises:
        DataError: writing to `out` could replace or mix with files of the dataset.
    """
    folders = {file.path.rpartition("/")[0] for files in dataset.manifest.splits.values() for file in files}
    read = [dataset.storage, *(dataset.data.child(folder) for folder in sorted(folders))]
    if out.within(dataset.storage) or any(folder.within(out) for folder in read):
        raise DataError(
            f"predictions cannot be written to {out.url}: files of the dataset {dataset.url} that they are about are "
            "there. Choose another folder"
        )


def _made(output: Output, work: Work, model: nn.Module, span: Span) -> Iterator[Columns]:
    return output_span(output, work.learner, model, work.dataset, span.split, (span.start, span.end), work.config)


@dataclass(frozen=True)
class _Try:
    """Makes something of the first rows of a share: what is wrong with the checkpoint or the learner comes to light."""

    output: Output

    def __call__(self, work: Work, model: nn.Module, share: Share) -> bytes:
        span = share[0]
        next(_made(self.output, work, model, replace(span, end=min(span.start + _ROWS_TO_TRY, span.end))))
        return b""


@dataclass(frozen=True)
class _Write:
    """Writes what is made of a share, a file for each of its spans; returns their descriptions and the schema as JSON.

    begins: whether it makes the folder ready, when something has been made: for the only share in this process. A task
    of Spark may run twice and must not, so there the driver has done it.
    """

    storage: Storage
    output: Output
    begins: bool
    overwrite: bool

    def __call__(self, work: Work, model: nn.Module, share: Share) -> bytes:
        schema: Schema | None = None
        files = []
        for span in share:
            made = _made(self.output, work, model, span)
            columns = next(made)
            if schema is None:
                schema = schema_of(columns)
                if self.begins:
                    start(self.storage, overwrite=self.overwrite)
            files.append((span.split, self._file(work, span, schema, chain([columns], made))))
        assert schema is not None, "no share is empty"
        return json.dumps({"schema": schema.to_json(), "files": files}).encode()

    def _file(self, work: Work, span: Span, schema: Schema, made: Iterator[Columns]) -> object:
        # A task that Spark runs twice writes two files; the driver counts the one that it hears of.
        writer = PartWriter(self.storage, span.split, schema, span.number, uuid.uuid4().hex[:8])
        for columns in made:
            check_same(self.output, work.learner, schema, schema_of(columns))
            writer.write(encode(schema, columns))
        return writer.close().to_json()


def chosen_splits(dataset: Dataset, wanted: str | None) -> Sequence[str]:
    """The splits to write: the wanted one, else all.

    Raises:
        EchelonError: there is no such split, or there are no rows.
    """
    if wanted is not None and wanted not in dataset.splits:
        raise EchelonError(f"{dataset.url} has no split '{wanted}'; there are: {', '.join(dataset.splits)}")
    splits = [wanted] if wanted is not None else dataset.splits
    if not any(dataset.rows(split) for split in splits):
        raise DataError(f"{dataset.url} has no rows to predict" + (f" in the split '{wanted}'" if wanted else ""))
    return splits
