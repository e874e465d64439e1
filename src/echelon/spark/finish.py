"""A last step of preparing rows that tasks take after the shuffle, as they write.

What travels through the shuffle is then the form before it: a JPEG is half as large as its pixels, and every byte that
travels is copied some ten times between Python, Java and disks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from echelon.data.cells import Decoded, decode, encode
from echelon.data.schema import Schema, Values
from echelon.spark.carriage import Run
from echelon.spark.job import Reports
from echelon.spark.notes import Notes, Problem
from echelon.spark.probe import listed_files


@dataclass(frozen=True)
class Finished:
    """What became of some rows.

    values: of every column of the dataset, of the rows that are left, in their order; given away, so that nobody may
    change them any more. problems: by the number of each row (from 0) that is left out. counts: of whatever is worth
    counting.
    """

    values: Mapping[str, Values]
    problems: Mapping[int, Problem] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Finish:
    """The last step.

    travelling: the columns of rows before it. step: makes rows of the dataset of some rows, which come as
    `cells.decode` gives them; a pure function of each row, since it sees them in any pieces. rows_at_once: at most so
    many, whatever they weigh in their travelling form.
    """

    travelling: Schema
    step: Callable[[Mapping[str, Decoded]], Finished]
    rows_at_once: int


class Stopped(Exception):
    """The step failed, and the driver was told."""


def finished(runs: Iterable[Run], finish: Finish, schema: Schema, notes: Notes, reports: Reports) -> Iterator[Run]:
    """Runs of travelling rows as runs of a dataset's rows. What is left out or counted is added to the notes.

    Raises:
        Stopped: the step raised; it was reported with the number of the item whose row came first.
    """
    for run in runs:
        for start in range(0, len(run.rows), finish.rows_at_once):
            items, numbers = (origin[start : start + finish.rows_at_once].tolist() for origin in run.origins)
            with reports.reporting(items[0]) as outcome, listed_files():
                values = decode(finish.travelling, run.rows.slice(start, finish.rows_at_once))
                done = finish.step(values)
                outcome.result = encode(schema, done.values, given_away=True)
                _require_all(len(outcome.result), len(done.problems), len(items))
            if outcome.failed:
                raise Stopped
            for row, problem in done.problems.items():
                notes.add(problem, (items[row], numbers[row]))
            notes.counts.update(done.counts)
            if len(outcome.result):
                yield Run(run.part, run.split, outcome.result)


def _require_all(kept: int, problems: int, given: int) -> None:
    if kept + problems != given:
        raise ValueError(f"of {given} rows, {kept} were finished and {problems} are problems: none may be lost")
