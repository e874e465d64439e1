"""Files of sound as samples, a block at a time, at their own rate and with their own channels.

libsndfile (soundfile) decodes all but MPEG audio, which dr_mp3 (miniaudio) does. soundfile seeks to its own place
behind every read; in an mp3 that loses what frames keep in earlier ones, and glitches follow. It also ends a file with
variable bit rate and no length where an estimate says, and one that is damaged there, where dr_mp3 finds the next good
frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelon.errors import DataError, EchelonError
from echelon.recipes.music.containers import end_of

_FRAMES, _MPEG_FRAMES = 1 << 13, 1 << 15
"""Samples of each channel in a block. Of a damaged block libsndfile gives none (FLAC), or what comes later (Ogg), which
it only takes back in the next one if that is not far away.
"""
_MOST_NUMBERS = 1 << 18
_RATES = (1000, 1_000_000)
_MPEG = ("mp3",)
_UNKNOWN_FRAMES = 1 << 62
"""libsndfile says at least so many where it does not know how many there are."""


@dataclass(frozen=True)
class Sound:
    """An open file.

    rate: samples a second. channels: how many. declared: samples of each channel that the file says to have; None where
    it does not say. is_cut: whether it ends in the middle. blocks: float32 [n, channels], which are valid until the
    next one is asked for. Where the file is damaged they end early, or with a DataError.
    """

    rate: int
    channels: int
    declared: int | None
    is_cut: bool
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
    with open(path, "rb") as file:
        end = end_of(file)
        if not file.tell():
            raise DataError("it is empty")
    if path.lower().endswith(_MPEG):
        yield _checked(_by_miniaudio(path))
        return
    import soundfile

    try:
        sound = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise DataError(f"it is no sound that libsndfile knows ({error.error_string.rstrip('.')})") from None
    with sound:
        if sound.subtype.startswith("MPEG_LAYER"):
            yield _checked(_by_miniaudio(path))
            return
        declared = None if sound.frames >= _UNKNOWN_FRAMES else round(sound.frames / end.present)
        yield _checked(Sound(sound.samplerate, sound.channels, declared, end.is_cut, _read(sound)))


def _checked(sound: Sound) -> Sound:
    if not _RATES[0] <= sound.rate <= _RATES[1]:
        raise DataError(f"it says to have {sound.rate} samples a second, which is no sound")
    return sound


def _by_miniaudio(path: str) -> Sound:
    import miniaudio

    try:
        said = miniaudio.get_file_info(path)
    except miniaudio.DecodeError as error:
        raise DataError(f"it is no mp3 that dr_mp3 knows ({error})") from None
    frames = min(_MPEG_FRAMES, _MOST_NUMBERS // said.nchannels)
    pieces = miniaudio.stream_file(
        path,
        output_format=miniaudio.SampleFormat.FLOAT32,
        nchannels=said.nchannels,
        sample_rate=said.sample_rate,
        frames_to_read=frames,
    )
    blocks = (np.frombuffer(piece, np.float32).reshape(-1, said.nchannels) for piece in pieces)
    return Sound(said.sample_rate, said.nchannels, said.num_frames or None, False, blocks)


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
