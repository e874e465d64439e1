"""From files to lines, and from lines to reviews."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from echelon.data.storage import open_storage
from echelon.recipes.reviews import blocks
from echelon.recipes.reviews.blocks import Block, DamagedFile, LongLine, Span, blocks_of, line_ends
from echelon.recipes.reviews.lines import Fields, Reviews, _at_once, parsed

FIELDS = Fields("text", "stars", "product")
GOOD = {"text": "fine", "stars": 4, "product": "p"}


def lines_of(folder: Path, name: str, bounds: list[int]) -> list[tuple[int, bytes]]:
    """Number and content of each line of a file, read in spans as the driver makes them."""
    storage, found, before = open_storage(str(folder)), [], 0
    for start, end in pairwise(bounds):
        span = Span(name, start, end, before + 2 if start else 1)
        before += line_ends(storage, span)
        for block in blocks_of(storage, span):
            assert isinstance(block, Block)
            assert block.content.endswith(b"\n")
            found += list(enumerate(block.content.split(b"\n")[:-1], block.first_line))
    return found


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=6).map(lambda b: b.replace(b"\n", b"x")), max_size=12), st.booleans(), st.data(),
       st.integers(1, 9))  # fmt: skip
def test_each_line_belongs_to_the_span_in_which_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[bytes], ended: bool, data: st.DataObject, piece: int
) -> None:
    content = b"\n".join(lines) + (b"\n" if ended else b"")
    assume(content and not content.startswith(b"\xef\xbb\xbf"))
    (tmp_path / "x.jsonl").write_bytes(content)
    cuts = data.draw(st.lists(st.integers(1, max(len(content) - 1, 1)), max_size=5, unique=True))
    monkeypatch.setattr(blocks, "_PIECE", piece)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(content)), len(content)]
    wanted = content.split(b"\n")
    wanted = wanted[:-1] if content.endswith(b"\n") else wanted
    assert lines_of(tmp_path, "x.jsonl", bounds) == list(enumerate(wanted, 1))


def test_a_line_that_is_too_long_is_told_and_the_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_PIECE", 64)
    content = b"a\n" + b"x" * 1000 + b"\nb\nc\n" + b"y" * 500
    (tmp_path / "x.jsonl").write_bytes(content)
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(content))
    storage = open_storage(str(tmp_path))
    for name in ("x.jsonl", "x.jsonl.gz"):
        found = list(blocks_of(storage, Span(name, 0, len(content)), longest=100))
        assert [(one.line, one.size) for one in found if isinstance(one, LongLine)] == [(2, 1000), (5, 500)]
        kept = {b.first_line: b.content for b in found if isinstance(b, Block)}
        assert b"".join(kept.values()) == b"a\nb\nc\n"
        assert kept[3].startswith(b"b")


@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_of_a_damaged_zip_the_whole_lines_before_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(blocks, "_PIECE", 1 << 14)
    random = np.random.default_rng(0)
    lines = [f"{number} {random.integers(1 << 60)}".encode() for number in range(20_000)]
    zipped = bytearray(gzip.compress(b"\n".join(lines) + b"\n"))
    if damage == "cut":
        zipped = zipped[: len(zipped) // 2]
    else:
        zipped[len(zipped) // 2 : len(zipped) // 2 + 100] = random.bytes(100)
    (tmp_path / "x.gz").write_bytes(zipped)
    found: list[bytes] = []

    def read() -> None:
        for block in blocks_of(open_storage(str(tmp_path)), Span("x.gz", 0, len(zipped))):
            assert isinstance(block, Block)
            found.extend(block.content.split(b"\n")[:-1])

    with pytest.raises(DamagedFile):
        read()
    assert 9_000 < len(found) < 19_000
    # Noise is only noticed some kilobytes later, at the end of the block of the zip in which it is.
    sure = len(found) if damage == "cut" else 9_000
    assert found[:sure] == lines[:sure]


def test_members_of_a_zip_follow_each_other(tmp_path: Path) -> None:
    members = gzip.compress(b"a\nb"), gzip.compress(b""), gzip.compress(b"c\nd"), bytes(512)
    (tmp_path / "x.gz").write_bytes(b"".join(members))
    found = list(blocks_of(open_storage(str(tmp_path)), Span("x.gz", 0, 1)))
    assert found == [Block(1, b"a\n"), Block(2, b"bc\n"), Block(3, b"d\n")]
    (tmp_path / "X.GZ").write_bytes(members[0] + bytes(3 << 20) + members[2])
    found = list(blocks_of(open_storage(str(tmp_path)), Span("X.GZ", 0, 1)))
    assert b"".join(block.content for block in found) == b"a\nbc\nd\n", "zeros that go on, and a name of another system"
    (tmp_path / "y.gz").write_bytes(gzip.compress(b"a\n") + b"no zip")
    (tmp_path / "z.gz").write_bytes(bytes(100))
    for name in ("y.gz", "z.gz"):
        with pytest.raises(DamagedFile):
            list(blocks_of(open_storage(str(tmp_path)), Span(name, 0, 1)))


def test_the_mark_that_windows_puts_before_a_text_is_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert list(blocks_of(open_storage(str(tmp_path)), Span("x.json", 0, 7))) == [Block(1, b"a\r\n"), Block(2, b"b\n")]


def reviews(content: bytes | list[Any], fields: Fields = FIELDS, **given: bool) -> tuple[list[tuple], dict[int, str]]:
    if isinstance(content, list):
        content = b"".join(x if isinstance(x, bytes) else json.dumps(x).encode() + b"\n" for x in content)
    found, malformed = parsed(Block(1, content), fields, **given)
    assert isinstance(found, Reviews)
    columns = (found.lines.tolist(), found.texts.to_pylist(), found.stars.tolist(), found.products.to_pylist())
    return list(zip(*columns, strict=True)), dict(malformed)


HOSTILE = [
    (b'{"text": "cut', "not JSON"),
    (b"\x00\x00\n"[:2], "not JSON"),
    (b'{"text": "a\x00b", "stars": 1}', "not JSON"),
    (b'{"text": "\xff\xfe", "stars": 1}', "not UTF-8: byte 0xff"),
    (b'{"text": "\\ud800", "stars": 1}', "half of a character"),
    (b'["text", "stars"]', "a list, not an object"),
    (b'{"text": null, "stars": 1}', "'text' is missing"),
    (b'{"stars": 1}', "'text' is missing"),
    (b'{"text": 5, "stars": 1}', "'text' is 5, not a text"),
    (b'{"text": ["a"], "stars": 1}', "'text' is a list"),
    (b'{"text": "a"}', "'stars' is missing"),
    (b'{"text": "a", "stars": 0}', "'stars' is 0, not 1 to 5"),
    (b'{"text": "a", "stars": 6}', "'stars' is 6"),
    (b'{"text": "a", "stars": 4.5}', "'stars' is 4.5"),
    (b'{"text": "a", "stars": 1e999}', "'stars' is inf"),
    (b'{"text": "a", "stars": NaN}', "'stars' is nan"),
    (b'{"text": "a", "stars": true}', "'stars' is True"),
    (b'{"text": "a", "stars": "good"}', "'stars' is 'good'"),
    (b'{"text": "a", "stars": 3, "product": {"id": 1}}', "'product' is a dict"),
    (b'{"text": "a", "stars": 3} {"text": "b", "stars": 3}', "not JSON"),
    (b'{"text": "a", "stars": 3}}', "not JSON"),
    (b'{"a": ' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("line", "reason"), HOSTILE, ids=[reason for _, reason in HOSTILE])
def test_a_hostile_line_is_named_and_its_neighbours_stay(line: bytes, reason: str) -> None:
    """Trap: a bare except that hides what is wrong."""
    found, malformed = reviews([GOOD, line + b"\n", {**GOOD, "text": "last"}])
    assert found == [(1, "fine", 4, "p"), (3, "last", 4, "p")]
    assert list(malformed) == [2]
    assert reason in malformed[2]
    assert len(malformed[2]) < 300


def test_lines_that_are_unusual_but_good_are_kept() -> None:
    large = {**GOOD, "text": "x" * 10_000_000}
    found, malformed = reviews(
        [
            {**GOOD, "stars": "5"},
            {**GOOD, "stars": "5.0"},
            {**GOOD, "product": 17},
            {"text": "", "stars": 1.0, "else": {"deep": [1, {"x": None}]}},
            b"\n",
            b'  {"stars": 2, "text": "twice", "text": "a\\u0000b\\u00e9\\ud83d\\ude00"}  \r\n',
            large,
            {**GOOD, "product": None},
        ]
    )
    assert not malformed
    assert found == [
        (1, "fine", 5, "p"),
        (2, "fine", 5, "p"),
        (3, "fine", 4, "17"),
        (4, "", 1, ""),
        (6, "a\x00b\u00e9\U0001f600", 2, ""),
        (7, large["text"], 4, "p"),
        (8, "fine", 4, ""),
    ]


def test_without_a_rating_there_is_no_label_where_that_is_allowed() -> None:
    found, malformed = reviews([{"text": "a"}, {"text": "b", "stars": None}, {"text": "c", "stars": 9}], labelled=False)
    assert found == [(1, "a", -1, ""), (2, "b", -1, "")]
    assert "'stars' is 9" in malformed[3]


TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
VALUE = st.one_of(TEXT, st.integers(-2, 7), st.floats(allow_nan=False), st.none(), st.booleans())
LINE = st.dictionaries(st.sampled_from(["text", "stars", "product", "other"]), VALUE, max_size=4)
USUAL = st.fixed_dictionaries(
    {"text": TEXT, "stars": st.sampled_from([1, 2.0, 3, 4.0, 5])}, optional={"product": TEXT, "other": VALUE}
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(USUAL, USUAL, USUAL, LINE), max_size=6), st.booleans())
def test_all_at_once_is_the_same_as_one_by_one(lines: list[dict[str, Any]], labelled: bool) -> None:
    """An empty line makes Arrow leave a block to Python."""
    at_once = reviews(list(lines), labelled=labelled)
    assert reviews([*lines, b"\n"], labelled=labelled) == at_once


def test_usual_lines_are_read_at_once() -> None:
    """Otherwise the test above would compare Python with itself."""
    content = b"".join(json.dumps(GOOD).encode() + b"\n" for _ in range(10))
    assert _at_once(content, 1, FIELDS) is not None
    quoted = Fields("text", "stars", "product", quoted=True, counted=True)
    line = json.dumps({"text": "a", "stars": "4.0", "product": 12}).encode() + b"\n"
    assert _at_once(line, 1, quoted) is not None
    assert reviews(line, quoted) == ([(1, "a", 4, "12")], {})
    assert _at_once(b'{"text": "a", "stars": 1}{"text": "b", "stars": 1}\n\n', 1, FIELDS) is None
