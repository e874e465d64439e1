"""Drawing sound: how loud it is, and which frequencies it has, over time."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from echelon.report.palette import LIGHT, SERIES
from echelon.report.plots import STYLE

SIZE = (5.0, 2.9)
_COLUMNS = 400
_RANGE = 70.0
"""dB below the loudest of a spectrogram that are still seen."""


def sound_figure(samples: NDArray[np.float32], rate: int) -> Figure:
    """The waveform above the spectrogram, over seconds.

    Args:
        samples: float32 [n] in [-1, 1], n > 0. rate: of them a second.
    """
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=SIZE)
        figure.subplots_adjust(left=0.12, right=0.96, bottom=0.16, top=0.98, hspace=0.2)
        wave, tones = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
        seconds = len(samples) / rate
        low, high = envelope(samples)
        wave.fill_between(np.linspace(0, seconds, len(low)), low, high, color=SERIES[0], linewidth=0.5)
        wave.set_ylim(-1, 1)
        wave.set_yticks([-1, 0, 1])
        wave.tick_params(labelbottom=False)
        tones.imshow(
            _inked(spectrogram(samples)), origin="lower", aspect="auto", extent=(0, seconds, 0, rate / 2000),
            interpolation="nearest",
        )  # fmt: skip
        tones.set_xlabel("seconds")
        tones.set_ylabel("kHz")
    return figure


def envelope(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The least and the greatest sample of each of at most 400 equal pieces, float32 [pieces] each."""
    pieces = np.array_split(samples, min(_COLUMNS, len(samples)))
    return np.array([piece.min() for piece in pieces]), np.array([piece.max() for piece in pieces])


def spectrogram(samples: NDArray[np.float32], window: int = 512) -> NDArray[np.float32]:
    """How loud each frequency is, from 70 dB below the loudest (0) up to that (1): float32 [window / 2 + 1, times],
    the lowest frequency first.

    By Hann windows, four in the length of one but not many more than 400 in all, so that of long sounds what lies
    between is left out; a shorter sound is filled up with silence.
    """
    padded = np.pad(samples, (0, max(0, window - len(samples))))
    step = max(window // 4, (len(padded) - window) // _COLUMNS)
    frames = sliding_window_view(padded, window)[::step] * np.hanning(window).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, axis=1)).T ** 2
    if not power.any():
        return np.zeros(power.shape, np.float32)
    loudness = 10 * np.log10(np.maximum(power, 1e-12) / max(float(power.max()), 1e-12))
    return np.clip(1 + loudness / _RANGE, 0, 1).astype(np.float32)


def _inked(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """A picture in which one colour covers what is loud, so that it is seen on light and on dark pages: [h, w, 4]."""
    ink = [int(LIGHT["series-1"][place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return np.concatenate([np.broadcast_to(np.array(ink, np.float32), (*levels.shape, 3)), levels[..., None]], axis=2)
