"""The framing of TFRecord files, with the checksums and the damage that they are for."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import pytest
from broken_records import file_of, flipped, frame_records, starts
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon.recipes.video import tfrecord
from echelon.recipes.video.tfrecord import HEAD, TAIL, Loss, Place, Window, content_at, masked_crc, places

RECORDS = frame_records(6)
STARTS = starts(RECORDS)
FILE = file_of(RECORDS)


class Stream:
    """What cannot go back, and gives less than is asked for."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, nbytes: int) -> bytes:
        return self._file.read(min(nbytes, 1000))

    def seek(self, position: int) -> int:
        raise AssertionError("a stream was asked to go elsewhere")


def read(content: bytes, *, piece: int = 4096, stream: bool = False) -> list[bytes | Loss]:
    window = Window(Stream(content), None, piece) if stream else Window(io.BytesIO(content), len(content), piece)
    return [content_at(window, found) if isinstance(found, Place) else found for found in places(window)]


def slow_crc(content: bytes) -> int:
    """CRC-32C bit by bit, as RFC 3720 defines it, masked as record_writer.h says."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("content", [b"", b"123456789", bytes(32), b"\xff" * 32, RECORDS[0][:300]])
def test_checksums_are_those_of_the_standard(content: bytes) -> None:
    assert masked_crc(content) == slow_crc(content)


def test_the_check_value_of_the_standard() -> None:
    """RFC 3720, B.4, and the catalogue of CRCs: of "123456789" it is 0xE3069283."""
    unmasked = (masked_crc(b"123456789") - 0xA282EAD8) & 0xFFFFFFFF
    assert (unmasked << 15 | unmasked >> 17) & 0xFFFFFFFF == 0xE3069283


@pytest.mark.parametrize("piece", [1, 100, 4096, 1 << 20])
@pytest.mark.parametrize("stream", [False, True])
def test_records_come_back_whatever_is_read_at_once(piece: int, stream: bool) -> None:
    assert read(FILE, piece=piece, stream=stream) == RECORDS


@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_content_costs_one_record(stream: bool) -> None:
    *_, size = STARTS
    found = read(flipped(FILE, STARTS[2] + HEAD + 50), stream=stream)
    assert found[:2] + found[3:] == RECORDS[:2] + RECORDS[3:]
    assert isinstance(found[2], Loss)
    assert (found[2].number, found[2].start, found[2].size) == (2, STARTS[2], STARTS[3] - STARTS[2])
    assert "checksum" in found[2].reason
    assert size == len(FILE)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("byte", [0, 5, 9])
def test_a_wrong_length_costs_the_rest_and_says_how_many_bytes(byte: int, stream: bool) -> None:
    found = read(flipped(FILE, STARTS[4] + byte), stream=stream)
    assert found[:4] == RECORDS[:4]
    (loss,) = found[4:]
    assert isinstance(loss, Loss)
    assert (loss.number, loss.start, loss.size) == (4, STARTS[4], len(FILE) - STARTS[4])
    assert "length has the wrong checksum; the rest of the file is lost" in str(loss)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("left", [1, HEAD - 1, HEAD, HEAD + 20, -1, -TAIL])
def test_a_file_that_is_cut_off_keeps_what_is_whole(left: int, stream: bool) -> None:
    """left: bytes of the fourth record that are there, or that are missing."""
    end = (STARTS[3] if left > 0 else STARTS[4]) + left
    found = read(FILE[:end], stream=stream)
    assert found[:3] == RECORDS[:3]
    (loss,) = found[3:]
    assert isinstance(loss, Loss)
    assert (loss.number, loss.start, loss.size) == (3, STARTS[3], end - STARTS[3])
    assert "ends within it" in loss.reason


def test_between_records_a_cut_cannot_be_seen() -> None:
    assert read(FILE[: STARTS[3]]) == RECORDS[:3]
    assert read(b"") == []


def test_what_claims_to_be_huge_is_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A length of an exabyte with the right checksum, and one that is in the file but beyond the limit."""
    length = struct.pack("<Q", 1 << 60)
    lying = FILE[: STARTS[1]] + length + struct.pack("<I", masked_crc(length)) + FILE[STARTS[1] :]
    for stream in (False, True):
        found = read(lying, stream=stream)
        assert found[0] == RECORDS[0]
        assert isinstance(found[1], Loss)
    most = sorted(map(len, RECORDS))[3]
    monkeypatch.setattr(tfrecord, "MOST_BYTES", most)
    for stream in (False, True):
        found = read(FILE, stream=stream)
        assert [one for one in found if isinstance(one, bytes)] == [r for r in RECORDS if len(r) <= most]
        assert all("more than" in one.reason for one in found if isinstance(one, Loss))


@settings(max_examples=100, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(FILE) - 1), st.integers(0, 255)), max_size=4),
    end=st.integers(0, len(FILE)),
    stream=st.booleans(),
)
def test_no_damage_stops_it_and_no_byte_is_untold(changes: Sequence[tuple[int, int]], end: int, stream: bool) -> None:
    """Every byte of a damaged file is in a record that is whole, or in a loss."""
    content = bytearray(FILE)
    for place, value in changes:
        content[place] = value
    damaged = bytes(content[:end])
    found = read(damaged, stream=stream)
    told = sum(one.size if isinstance(one, Loss) else HEAD + len(one) + TAIL for one in found)
    assert told == len(damaged)
    assert all(one in RECORDS for one in found if isinstance(one, bytes)), "nothing wrong passes for a record"
