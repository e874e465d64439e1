"""Files of sound as samples, a block at a time, at their own rate and with their own channels.

libsndfile (soundfile) decodes all but MPEG audio, which dr_mp3 (miniaudio) does, whatever a file is called. soundfile
seeks to its own place behind every read; in an mp3 that loses what frames keep in earlier ones, and glitches follow.
It also ends a file with variable bit rate and no length where an estimate says, and one that is damaged there, where
dr_mp3 finds the next good frame. FLAC that does not say its length, as who writes into a pipe leaves it, is decoded by
dr_flac (miniaudio): at its end soundfile cannot seek, and loses the last block.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from echelon.errors import DataError, EchelonError
from echelon.recipes.music.containers import End, end_of

_FRAMES, _STREAMED_FRAMES = 1 << 13, 1 << 15
"""Samples of each channel in a block. Of a damaged block libsndfile gives none (FLAC), or what comes later (Ogg), which
it only takes back in the next one if that is not far away.
"""
_MOST_NUMBERS = 1 << 18
_RATES = (1000, 1_000_000)
_MPEG = (".mp3",)
_UNKNOWN_FRAMES = 1 << 62
"""libsndfile says at least so many where it does not know how many there are."""


@dataclass(frozen=True)
class Sound:
    """An open file.

    rate: samples a second. channels: how many. declared: samples of each channel that the file says to have; None where
    it does not say. end: how the file ends. blocks: float32 [n, channels], which are valid until the next one is asked
    for. Where the file is damaged they end early, or with a DataError.
    """

    rate: int
    channels: int
    declared: int | None
    end: End
    blocks: Iterator[NDArray[np.float32]]


def check_decoders() -> None:
    """
    Raises:
        EchelonError: what decodes or resamples sound is not installed.
    """
    try:
        import miniaudio
        import soundfile
        import soxr
    except (ImportError, OSError) as error:
        raise EchelonError(
            f"music needs soundfile, soxr and miniaudio ({error}): pip install 'echelon[music]'"
        ) from None
    assert miniaudio
    assert soundfile
    assert soxr


@contextmanager
def opened(path: str) -> Iterator[Sound]:
    """A file of sound on a disk.

    Raises:
        DataError: it holds no sound that is understood. OSError: it cannot be read.
    """
    import miniaudio

    with open(path, "rb", buffering=0) as file:
        if not file.seek(0, os.SEEK_END):
            raise DataError("it is empty")
        end = end_of(file)
        if path.lower().endswith(_MPEG) and (sound := _by_miniaudio(path, miniaudio.mp3_get_file_info, end)):
            yield _checked(sound)
            return
        file.seek(0)
        with _by_libsndfile(path, file, end) as sound:
            yield _checked(sound)


@contextmanager
def _by_libsndfile(path: str, file: BinaryIO, end: End) -> Iterator[Sound]:
    """What it knows by its content, since some songs are not what they are called."""
    import miniaudio
    import soundfile

    try:
        # By its number: of one that is called .mp3 libsndfile would only ask libmpg123, which complains aloud.
        content = soundfile.SoundFile(file.fileno(), closefd=False)
    except soundfile.LibsndfileError as error:
        raise DataError(f"it is no sound that libsndfile or dr_mp3 knows ({error.error_string.rstrip('.')})") from None
    with content:
        is_endless, sound = content.frames >= _UNKNOWN_FRAMES, None
        if content.subtype.startswith("MPEG_LAYER"):
            sound = _by_miniaudio(path, miniaudio.mp3_get_file_info, end)
        elif is_endless and content.format == "FLAC":
            sound = _by_miniaudio(path, miniaudio.flac_get_file_info, end)
        declared = None if is_endless else round(content.frames / end.present)
        yield sound or Sound(content.samplerate, content.channels, declared, end, _read(content))


def _checked(sound: Sound) -> Sound:
    if not _RATES[0] <= sound.rate <= _RATES[1]:
        raise DataError(f"it says to have {sound.rate} samples a second, which is no sound")
    return sound


def _by_miniaudio(path: str, said_by: Callable[[str], Any], end: End) -> Sound | None:
    """None if it is nothing that miniaudio knows. said_by: its function that tells of a file of one format."""
    import miniaudio

    try:
        said = said_by(path)
        pieces = miniaudio.stream_file(
            path,
            output_format=miniaudio.SampleFormat.FLOAT32,
            nchannels=said.nchannels,
            sample_rate=said.sample_rate,
            frames_to_read=min(_STREAMED_FRAMES, _MOST_NUMBERS // said.nchannels),
        )
    except miniaudio.DecodeError:
        return None
    blocks = (np.frombuffer(piece, np.float32).reshape(-1, said.nchannels) for piece in pieces)
    return Sound(said.sample_rate, said.nchannels, said.num_frames or None, end, blocks)


def _read(sound: Any) -> Iterator[NDArray[np.float32]]:
    import soundfile

    block = np.empty((min(_FRAMES, _MOST_NUMBERS // sound.channels), sound.channels), np.float32)
    while True:
        try:
            count = sound.buffer_read_into(block, "float32")
        except soundfile.LibsndfileError as error:
            raise DataError(f"it is damaged ({error.error_string.rstrip('.')})") from None
        if not count:
            return
        yield block[:count]
