"""What a run of music has made at its evaluations, to be heard and seen in its report."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from echelon.errors import DataError
from echelon.recipes.music.mulaw import decode
from echelon.recipes.music.wav import wav_of
from echelon.recipes.music.wavenet import WaveNet
from echelon.report.exhibits import Clip, Clips, Exhibit
from echelon.train.sampled import Sampled

CODES, RATE = "codes", "rate"
"""Arrays of what was made: the codes, uint8 [samples], and how many of them are a second, int64 []."""
SECONDS = 2.0
SHOWN, NAMED = 10, 30
_log = logging.getLogger(__name__)


def make_clip(model: nn.Module, rate: int) -> Mapping[str, NDArray[np.generic]]:
    """The beginning of the song with the seed 0, so that those of one run differ by what it has learned only.

    Raises:
        EchelonError: numba is not installed.
    """
    from echelon.recipes.music.generation import generate

    assert isinstance(model, WaveNet)
    return {CODES: generate(model, round(SECONDS * rate)), RATE: np.array(rate)}


def clips(samples: Sequence[Sampled]) -> Iterator[Exhibit]:
    """Some of the samples in the order of the steps, the first and the last among them; the others are named."""
    shown = spread(samples, SHOWN)
    clips = [clip for clip in map(_clip, shown) if clip is not None]
    if not clips:
        return
    lead = (
        f"{SECONDS:g} seconds from silence at each evaluation, drawn with the same random numbers: they differ by what "
        f"the model had learned.{_rest([sample.step for sample in samples if sample not in shown])}"
    )
    yield Clips("Songs on the way", lead, clips)


def spread(samples: Sequence[Sampled], most: int) -> list[Sampled]:
    """At most so many, as far apart as can be."""
    if len(samples) <= most:
        return list(samples)
    places = np.linspace(0, len(samples) - 1, most).round().astype(int)
    return [samples[place] for place in places]


def _rest(steps: Sequence[int]) -> str:
    """Names those that are not shown, or says how many these are."""
    if not steps:
        return ""
    named = ", ".join(f"{step:,}" for step in steps)
    those = f"of {len(steps):,} other steps" if len(steps) > NAMED else f"of the steps {named}"
    return f" Those {those} lie in the folder of the run."


def _clip(sample: Sampled) -> Clip | None:
    try:
        arrays = sample.arrays
        codes, rate = arrays[CODES].astype(np.uint8), int(arrays[RATE].item())
    except (DataError, KeyError) as error:
        _log.warning("the report leaves out what was made at step %d: %s", sample.step, error)
        return None
    sound = decode(codes)
    loud = f"peak {float(np.abs(sound).max()):.2f}, root mean square {float(np.sqrt((sound**2).mean())):.3f}"
    return Clip(f"step {sample.step:,}", sound, rate, wav_of(codes, rate), loud)
