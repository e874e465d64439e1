"""Lines of the standard input become answers as they come."""

from __future__ import annotations

import io
import os

import numpy as np

from echelon.cli.items import arriving_lines, rows_of
from echelon.train.run import as_json


def lines_of(content: bytes, most: int = 100) -> list[list[str]]:
    return list(arriving_lines(io.BufferedReader(io.BytesIO(content)), most))


def test_every_line_comes_once_whatever_ends_it() -> None:
    assert lines_of(b"") == []
    assert lines_of(b"good\n\nbad") == [["good", ""], ["bad"]]
    assert lines_of(b"good\r\nbad\r\n") == [["good", "bad"]]
    assert lines_of("schön\n".encode() + b"\xff\xfe\n") == [["schön", "\ufffd\ufffd"]]


def test_no_more_lines_come_together_than_are_wanted_and_long_ones_come_whole() -> None:
    assert [len(lines) for lines in lines_of(b"x\n" * 10, most=4)] == [4, 4, 2]
    long = ["a" * 300_000, "é" * 100_000, "b"]
    assert [line for lines in lines_of("\n".join(long).encode()) for line in lines] == long


def test_a_line_does_not_wait_for_the_next_one() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as stream, os.fdopen(write, "wb", buffering=0) as pipe:
        arriving = arriving_lines(stream, 10)
        pipe.write(b"first\nsec")
        assert next(arriving) == ["first"]
        pipe.write(b"ond\n")
        assert next(arriving) == ["second"]


def test_an_answer_is_a_line_of_json_with_numbers_as_short_as_they_are() -> None:
    columns = {
        "label": ["good", 'b"ad'],
        "probability": np.float32([0.1, 0.75]),
        "long": [np.arange(2), np.arange(3)],
        "all": np.float32([[0.5, 0.5], [np.nan, 0]]),
    }
    assert [as_json(row) for row in rows_of(columns)] == [
        '{"label": "good", "probability": 0.1, "long": [0, 1], "all": [0.5, 0.5]}',
        '{"label": "b\\"ad", "probability": 0.75, "long": [0, 1, 2], "all": [null, 0.0]}',
    ]
