"""What a run of music has made at its evaluations, to be heard and seen in its report."""

from __future__ import annotations

import base64
import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.errors import DataError
from echelon.recipes.music.columns import SAMPLES
from echelon.recipes.music.mulaw import decode
from echelon.recipes.music.wav import wav_of
from echelon.recipes.music.wavenet import WaveNet
from echelon.report.exhibits import Clip, Clips, Exhibit
from echelon.train.sampled import Sampled

CODES, RATE, HEARD = "codes", "rate", "heard"
"""Arrays of what was made: the codes, uint8 [samples]; how many of them are a second, and how many of the first ones
were given, int64 [].
"""
SECONDS, HEARD_SECONDS = 2.0, 0.25
_LOOKED_AT = 64
SHOWN, NAMED = 10, 30
_log = logging.getLogger(__name__)


def loud_beginning(dataset: Dataset, split: str, rate: int) -> NDArray[np.uint8]:
    """Codes that clips go on from: the beginning of the loudest of the first windows of a split, uint8 [at most
    rate / 4].

    From silence it can take long until there is something to be heard.
    """
    length, rows = round(HEARD_SECONDS * rate), min(dataset.rows(split), _LOOKED_AT)
    found = [np.empty(0, np.uint8)]
    for batch in span_batches(dataset, split, (SAMPLES,), 0, rows, _LOOKED_AT):
        ends = batch.lengths[SAMPLES].tolist()
        found += [codes[: min(end, length)] for codes, end in zip(batch[SAMPLES].numpy(), ends, strict=True)]
    return max(found, key=lambda codes: float((decode(codes) ** 2).sum()))


def stored(codes: NDArray[np.uint8]) -> str:
    """Codes as a text that a run can keep; "" for none."""
    return base64.b64encode(zlib.compress(codes.tobytes(), 9)).decode() if len(codes) else ""


def restored(text: str) -> NDArray[np.uint8]:
    """The codes of `stored`."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)) if text else b"", np.uint8)


def make_clip(model: nn.Module, rate: int, heard: NDArray[np.uint8]) -> Mapping[str, NDArray[np.generic]]:
    """The song with the seed 0 that goes on from what is heard, so that those of one run differ by what it has learned
    only.

    Raises:
        EchelonError: numba is not installed.
    """
    from echelon.recipes.music.generation import generate

    assert isinstance(model, WaveNet)
    song = generate(model, round(SECONDS * rate) - len(heard), start=heard)
    return {CODES: np.concatenate([heard, song]), RATE: np.array(rate), HEARD: np.array(len(heard))}


def clips(samples: Sequence[Sampled]) -> Iterator[Exhibit]:
    """Some of the samples in the order of the steps, the first and the last among them; the others are named."""
    shown = spread(samples, SHOWN)
    clips = [clip for clip in map(_clip, shown) if clip is not None]
    if not clips:
        return
    rest = _rest([sample.step for sample in samples if sample not in shown])
    lead = (
        f"{SECONDS:g} seconds at each evaluation, which go on from one beginning and are drawn with the same random "
        f"numbers: they differ by what the model had learned.{rest}"
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
        codes, rate, heard = arrays[CODES].astype(np.uint8), int(arrays[RATE].item()), int(arrays[HEARD].item())
    except (DataError, KeyError) as error:
        _log.warning("the report leaves out what was made at step %d: %s", sample.step, error)
        return None
    sound, new = decode(codes), decode(codes[heard:])
    loud = f"peak {float(np.abs(new).max()):.2f}, root mean square {float(np.sqrt((new**2).mean())):.3f}"
    caption = f"{heard / rate:.2f} s of a song, then new: {loud}"
    return Clip(f"step {sample.step:,}", sound, rate, wav_of(codes, rate), caption)
