"""New songs from a trained `WaveNet`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from echelon.errors import EchelonError
from echelon.recipes.music.mulaw import SILENCE
from echelon.recipes.music.packed import Precision, Weights, pack
from echelon.recipes.music.sampling import Drawing
from echelon.recipes.music.voices import Codes, after, give, voice_of
from echelon.recipes.music.wavenet import WaveNet

Progress = Callable[[int], None]
"""Is told how many codes of each song there are; what it raises ends the songs."""
GROUP = 8
"""Songs that are best made together by one thread."""
_AT_ONCE = 1024


def generate(
    model: WaveNet,
    samples: int,
    *,
    seed: int = 0,
    temperature: float = 1.0,
    top_k: int | None = None,
    start: Codes | None = None,
    progress: Progress | None = None,
    precision: Precision = "fp32",
) -> Codes:
    """A new song, uint8 [samples]; the same for the same arguments.

    Args:
        temperature, top_k: see `Drawing`. start: codes that the song is to go on from, and that are not part of what is
            returned; None to begin from silence. precision: how the weights are stored.

    Raises:
        EchelonError: an argument makes no sense, or the model is broken.
    """
    drawing = Drawing(seed, temperature, top_k)
    return songs_of(pack(model, precision), [0], samples, drawing, start, progress)[0]


def songs_of(
    weights: Weights,
    numbers: Sequence[int],
    samples: int,
    drawing: Drawing,
    start: Codes | None = None,
    progress: Progress | None = None,
) -> Codes:
    """The songs with some numbers, uint8 [songs, samples]. A song depends on its number, not on its company.

    weights: of the model, packed. Other arguments are as in `generate`. Other threads run meanwhile.
    """
    classes = len(weights.embedding)
    if classes > np.iinfo(np.uint8).max + 1:
        raise EchelonError(f"a model of {classes} classes makes no codes of a byte")
    before = np.concatenate([[SILENCE], [] if start is None else start]).astype(np.uint8)
    voice, songs = voice_of(weights, len(numbers), before), np.empty((len(numbers), samples), np.uint8)
    for begin in range(0, samples, _AT_ONCE):
        end = min(samples, begin + _AT_ONCE)
        uniforms = np.stack([drawing.uniforms(number, begin, end) for number in numbers])
        songs[:, begin:end] = voice.sing(uniforms, drawing)
        if not np.isfinite(voice.logits).all():
            raise EchelonError(
                "the network says what are no numbers, so large are its weights: its training has diverged"
            )
        if progress is not None:
            progress(end)
    return songs


def follow(weights: Weights, codes: Codes, heard: int = 0) -> NDArray[np.float32]:
    """What the kernel makes of given songs: the logits of each of their codes, float32 [songs, n, classes].

    codes: uint8 [songs, n]. heard: so many of them are what all songs begin with, and have no logits.
    """
    songs, length = codes.shape
    inputs = np.concatenate([np.full((songs, 1), SILENCE, np.uint8), codes], axis=1)
    memory = after(weights, inputs[0, : heard + 1], songs)
    logits = np.empty((songs, length - heard, len(weights.embedding)), np.float32)
    give(weights, memory, inputs[:, heard:], logits)
    return logits
