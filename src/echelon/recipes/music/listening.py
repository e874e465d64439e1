"""From a file of sound to mono samples at one rate, in bounded memory, and what became of it on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from echelon.errors import DataError
from echelon.recipes.music.audio import Sound, opened
from echelon.recipes.music.containers import End
from echelon.recipes.music.mulaw import encode

_PIECE = 1 << 16
_TOLERATED_SECONDS = 0.1
"""What decoders may leave out at the ends of a file without a fault."""
_BYTES = np.dtype(np.float32).itemsize


@dataclass(frozen=True)
class Wish:
    """What is wanted of a song.

    rate: samples a second. start: seconds that are left out first. seconds: at most so many are taken; None for all.
    """

    rate: int
    start: float = 0.0
    seconds: float | None = None


@dataclass(frozen=True)
class Heard:
    """What was had of a song.

    samples: how many, at the rate that was wished for. peak: the largest absolute value of them. declared: seconds that
    the file says to have, None where it does not say. decoded: seconds of it that were read. invalid: samples of the
    file that were no numbers, and count as 0. is_whole: whether it was read to its end; no more may have been wanted.
    lost: what is missing of it and why, if anything is.
    """

    samples: int
    peak: float
    declared: float | None
    decoded: float
    invalid: int
    is_whole: bool
    lost: str | None


def listen(path: str, wish: Wish, spool: BinaryIO) -> Heard:
    """Writes what is wanted of a song to a spool: float32, mono as the mean of the channels, resampled by soxr from the
    rate that the file has.

    What is before a damage is kept.

    Raises:
        DataError: it holds no sound that is understood. OSError: it cannot be read.
    """
    with opened(path) as sound:
        ear = _Ear(sound, wish)
        fault = None
        try:
            for samples in ear.resampled():
                spool.write(samples.data)
        except DataError as error:
            fault = str(error)
        declared = None if sound.declared is None else sound.declared / sound.rate
        decoded = ear.decoded / sound.rate
        lost = None if ear.has_enough else _lost(declared, decoded, sound.end, fault)
        return Heard(ear.kept, ear.peak, declared, decoded, ear.invalid, not ear.has_enough, lost)


def codes_of(spool: BinaryIO, heard: Heard, *, normalise: bool) -> Iterator[NDArray[np.uint8]]:
    """The codes of what is in a spool, in pieces. normalise: scale it to a peak of 1."""
    scale = np.float32(1 / heard.peak if normalise and heard.peak else 1)
    spool.seek(0)
    while content := spool.read(_PIECE * _BYTES):
        yield encode(np.frombuffer(content, np.float32) * scale)


class _Ear:
    """Listens to a sound once.

    decoded: samples of each channel that were read. kept: samples at the wished rate that were given. has_enough:
    whether no more is wanted, so that the rest was not read.
    """

    def __init__(self, sound: Sound, wish: Wish) -> None:
        self._sound, self._wish = sound, wish
        self._to_skip = round(wish.start * wish.rate)
        self._wanted = None if wish.seconds is None else max(1, round(wish.seconds * wish.rate))
        self.decoded = self.kept = self.invalid = 0
        self.peak = 0.0
        self.has_enough = False

    def resampled(self) -> Iterator[NDArray[np.float32]]:
        """
        Raises:
            DataError: the file is damaged, behind what was given.
        """
        fault: DataError | None = None
        for samples in self._streamed():
            if isinstance(samples, DataError):
                fault = samples
                continue
            taken = self._taken(samples)
            if len(taken):
                peak = max(float(taken.max()), -float(taken.min()))
                if not math.isfinite(peak):
                    raise DataError("it has samples that are too large to be resampled")
                self.kept, self.peak = self.kept + len(taken), max(self.peak, peak)
                yield taken
            if self.has_enough:
                return
        if fault is not None:
            raise fault

    def _streamed(self) -> Iterator[NDArray[np.float32] | DataError]:
        """Resampled pieces, and why they end if they do early; what the resampler still holds then comes last."""
        import soxr

        if self._sound.rate == self._wish.rate:
            yield from self._mono()
            return
        stream = soxr.ResampleStream(self._sound.rate, self._wish.rate, 1, dtype="float32", quality="HQ")
        for block in self._mono():
            yield block if isinstance(block, DataError) else stream.resample_chunk(block)
        yield stream.resample_chunk(np.empty(0, np.float32), last=True)

    def _mono(self) -> Iterator[NDArray[np.float32] | DataError]:
        try:
            for block in self._sound.blocks:
                self.decoded += len(block)
                mono = _mean(block)
                # A product is no number if one of them is none, and costs far less than to look at each.
                with np.errstate(over="ignore", invalid="ignore"):
                    is_usual = math.isfinite(np.dot(mono, mono))
                if not is_usual:
                    wrong = ~np.isfinite(mono)
                    self.invalid += int(wrong.sum())
                    mono[wrong] = 0
                yield mono
        except DataError as error:
            yield error

    def _taken(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        skipped = min(self._to_skip, len(samples))
        self._to_skip -= skipped
        rest = samples[skipped:]
        if self._wanted is not None:
            rest = rest[: self._wanted - self.kept]
            self.has_enough = self.kept + len(rest) >= self._wanted
        return rest


def _mean(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the channels, float32 [n] that is new. Channel after channel, which is ten times as fast as along the rows."""
    first, *others = block.T
    if not others:
        return first.copy()
    mono = np.add(first, others[0])
    for channel in others[1:]:
        mono += channel
    mono *= np.float32(1 / len(block.T))
    return mono


def _lost(declared: float | None, decoded: float, end: End, fault: str | None) -> str | None:
    missing = 0.0 if declared is None else declared - decoded
    if missing > _TOLERATED_SECONDS:
        return f"{missing:.2f} of {declared:.2f} s are lost: {fault or 'it was cut off, or is damaged'}"
    if fault is not None or end.is_cut:
        return f"all after {decoded:.2f} s is lost: {fault or 'it was cut off'}"
    return end.beyond
