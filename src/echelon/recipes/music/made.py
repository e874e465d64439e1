"""Small made songs as real files of sound, for tests and trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SUBTYPES = {"ogg": "VORBIS", "opus": "OPUS", "wav": "PCM_16", "flac": "PCM_16", "aiff": "PCM_16"}
_CHORDS = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (9, 12, 16))
"""Semitones above the key: the chords of most songs."""
_LOWEST = 110.0
_HARMONICS = 4


def made_song(seconds: float, rate: int = 44_100, channels: int = 2, seed: int = 0) -> NDArray[np.float32]:
    """Chords that are struck and fade away, float32 [samples, channels] in [-1, 1]; each channel is as loud as another.

    The key, the pace and the order of the chords are drawn.
    """
    random = np.random.default_rng(seed)
    key, beat = _LOWEST * 2 ** (random.integers(0, 12) / 12), float(random.uniform(0.25, 0.5))
    time = np.arange(round(seconds * rate)) / rate
    chord = np.array(_CHORDS)[random.integers(0, len(_CHORDS), int(seconds / beat) + 1)]
    number = (time / beat).astype(np.int64)
    since = time - number * beat
    envelope = np.minimum(since / 0.005, 1) * np.exp(-since / 0.15)
    sound = np.zeros(len(time))
    for note in range(chord.shape[1]):
        pitch = key * 2 ** (chord[number, note] / 12)
        for harmonic in range(1, _HARMONICS + 1):
            sound += np.sin(2 * np.pi * pitch * harmonic * since) / harmonic**2
    sound *= envelope * (0.5 / max(float(np.abs(sound * envelope).max()), 1e-9)) if len(sound) else 1.0
    return np.repeat(sound[:, None], channels, axis=1).astype(np.float32)


def write_song(path: Path, samples: NDArray[np.floating], rate: int) -> None:
    """A file in the format that its ending says, such as .wav, .flac, .ogg, .opus or .mp3.

    samples: [samples, channels].
    """
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    ending = path.suffix[1:].lower()
    form = {"opus": "OGG"}.get(ending, ending.upper())
    soundfile.write(path, samples, rate, format=form, subtype=_SUBTYPES.get(ending))


def write_songs(
    folder: Path, count: int, seconds: float, *, seed: int = 0, rate: int = 22_050, endings: Sequence[str] = ("ogg",)
) -> None:
    """Songs song000.ogg …, each another one. endings: their formats, in turn."""
    for number in range(count):
        path = folder / f"song{number:03d}.{endings[number % len(endings)]}"
        write_song(path, made_song(seconds, rate, 1, seed * 1000 + number), rate)
