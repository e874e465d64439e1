"""Single items on the standard input, predicted as they come: for pipes and for people who type."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import cast

import numpy as np

from echelon.errors import EchelonError
from echelon.inference import Forward, predicting
from echelon.recipes.recipe import Recipe
from echelon.train.predict import Columns
from echelon.train.run import RunFolder, as_json

STANDARD_INPUT = "-"
_CHUNK = 1 << 16


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
            for line in answers(predict(recipe.batch_of(learner, items))):
                sys.stdout.write(line + "\n")
            # Whoever waits for an answer before the next question would wait for ever.
            sys.stdout.flush()


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


def answers(columns: Columns) -> Iterator[str]:
    """A JSON object for each row, with what was made of it by name."""
    rows = len(next(iter(columns.values())))
    for row in range(rows):
        yield as_json({name: _plain(values[row]) for name, values in columns.items()})


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")


def _plain(value: object) -> object:
    if isinstance(value, np.floating):
        return float(str(value))  # the shortest number that is the same in its own precision
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
