"""Single items, predicted as they come on the standard input, for pipes and for people who type; or as files."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from echelon.data.batch import Batch
from echelon.errors import EchelonError
from echelon.inference import Forward, predicting
from echelon.recipes.recipe import Recipe
from echelon.train.learner import Learner
from echelon.train.predict import Columns
from echelon.train.run import RunFolder, as_json

STANDARD_INPUT = "-"
_CHUNK = 1 << 16
_FILES_AT_ONCE = 32
"""Whatever the batches of a run are: these are large, and whoever waits wants to see the first answers."""


def are_items(recipe: Recipe, given: Sequence[str]) -> bool:
    """Whether all that is given are files that are single items of a recipe."""
    return bool(given) and all(path.lower().endswith(recipe.item_endings) for path in given)


def predict_files(recipe: Recipe, folder: RunFolder, forward: Forward, paths: Sequence[str]) -> int:
    """Writes a line of JSON for each file that can be read, with its path as "item"; how many could not.

    Raises:
        EchelonError: there is no checkpoint.
    """
    most = min(forward.of(folder.config).eval_batch_size, _FILES_AT_ONCE)
    with predicting(folder, learner=(learner := folder.learner), forward=forward) as predict:
        return sum(
            _answered(recipe, learner, predict, paths[start : start + most], named=True)
            for start in range(0, len(paths), most)
        )


def predict_items(recipe: Recipe, folder: RunFolder, forward: Forward) -> None:
    """Writes a line of JSON for each line of the standard input, with what the run's model predicts of it.

    Raises:
        EchelonError: the recipe predicts no single items, or there is no checkpoint.
    """
    if recipe.item is None:
        raise EchelonError(
            f"{type(recipe).__name__} predicts nothing from the standard input: give a dataset or raw files"
        )
    most = forward.of(folder.config).eval_batch_size
    learner = folder.learner
    with predicting(folder, learner=learner, forward=forward) as predict:
        for items in arriving_lines(cast(io.BufferedReader, sys.stdin.buffer), most):
            _answered(recipe, learner, predict, items, named=bool(recipe.item_endings))


def _answered(
    recipe: Recipe, learner: Learner, predict: Callable[[Batch], Columns], items: Sequence[str], *, named: bool
) -> int:
    """Writes the answers to some items, with the items themselves if they are `named`; how many were left out."""
    batch = recipe.batch_of(learner, items)
    if len(batch):
        for item, row in zip(batch.rows.tolist(), rows_of(predict(batch)), strict=True):
            answer = recipe.answer(learner, row)
            sys.stdout.write(as_json({"item": items[item], **answer} if named else dict(answer)) + "\n")
    # Whoever waits for an answer before the next question would wait for ever.
    sys.stdout.flush()
    return len(items) - len(batch)


def arriving_lines(stream: io.BufferedReader, most: int) -> Iterator[list[str]]:
    """The lines of a stream as soon as they are there, some at a time; bytes that are no UTF-8 are replaced.

    most: that come together.
    """
    rest = b""
    while chunk := stream.read1(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\n")
        for start in range(0, len(whole), most):
            yield [_text(line) for line in whole[start : start + most]]
    if rest:
        yield [_text(rest)]


def rows_of(columns: Columns) -> Iterator[dict[str, Any]]:
    """What was made of each row, by name, as plain values."""
    for row in range(len(next(iter(columns.values())))):
        yield {name: _plain(values[row]) for name, values in columns.items()}


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")


def _plain(value: object) -> object:
    if isinstance(value, np.floating):
        return float(str(value))  # the shortest number that is the same in its own precision
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
