"""A prepare, and one that kills itself once some parts are written."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echelon.data.cells import Decoded
from echelon.data.commit import RECEIPTS
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.spark.prepare import Finish, Finished, Found, Problem, Rows, Summary, prepare_dataset

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = Schema((Column("key", "string"), Column("square", "int64")))
TRAVELLING = Schema((Column("number", "int64"),))
PARTS, ITEMS, ROWS = 6, 3, 80
SLOWLY = "SECONDS_A_PART"
"""What says in the environment how long the step sleeps; it is no part of the plan."""


def numbers(item: int) -> Iterator[Found]:
    """Of item 1 something is wrong before the shuffle."""
    if item == 1:
        yield Problem("item 1", "broken")
    of_item = np.arange(ITEMS * ROWS).reshape(ITEMS, ROWS)[item]
    yield Rows({"number": of_item}, ["test" if number % 4 == 0 else "train" for number in of_item])


@dataclass(frozen=True)
class Square:
    """Tells of each row in a file; every 40th is a problem behind the shuffle."""

    log: str

    def __call__(self, rows: Mapping[str, Decoded]) -> Finished:
        given = np.asarray(rows["number"])
        with open(self.log, "a") as log:
            log.write("".join(f"{number}\n" for number in given))
        time.sleep(float(os.environ.get(SLOWLY, 0)))
        good = given[given % 40 != 0]
        problems = {row: Problem(f"row {n}", "bad") for row, n in enumerate(given) if n % 40 == 0}
        return Finished({"key": [str(n) for n in good], "square": good**2}, problems, Counter(finished=len(given)))


def total(split: str, rows: Mapping[str, Decoded]) -> Mapping[str, NDArray]:
    return {"total": np.asarray(rows["square"]).sum()}


def prepare(spark: SparkSession, folder: Path, name: str, **rest: Any) -> tuple[Dataset, Summary]:
    finish = Finish(TRAVELLING, Square(str(folder / "log")), 1000)
    size = PARTS * (16 << 20) // ITEMS
    return prepare_dataset(
        spark, str(folder / name), SCHEMA, range(ITEMS), numbers, finish=finish, sums_of=total,
        bytes_of=lambda item: size, **rest,
    )  # fmt: skip


def main(home: str) -> None:
    """Prepares "cut" in a folder, and is killed on the way."""
    from echelon.spark.session import session

    folder = Path(home)

    def die(tasks: object) -> None:
        if len(list((folder / "cut" / RECEIPTS).rglob("*.arrow"))) >= 2:
            os.kill(os.getpid(), signal.SIGKILL)

    prepare(session("local[1,8]", workers=1), folder, "cut", on_progress=die)
