"""Pictures of sound: what is loud, when and at which frequency."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from echelon.report.sound import envelope, sound_figure, spectrogram

RATE, WINDOW = 8000, 512


def tone(hertz: float, seconds: float, loud: float = 0.5) -> NDArray[np.float32]:
    return (loud * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize("hertz", [250, 1000, 3000])
@pytest.mark.parametrize("seconds", [0.1, 1.0, 60.0])
def test_a_tone_is_where_its_frequency_is(hertz, seconds):
    levels = spectrogram(tone(hertz, seconds))
    assert len(levels) == WINDOW // 2 + 1
    assert levels.shape[1] <= 420
    assert set(levels.argmax(0)) == {hertz * WINDOW // RATE}
    assert levels.max() == 1


def test_times_go_from_left_to_right():
    levels = spectrogram(np.concatenate([tone(500, 1.0), tone(2000, 1.0), np.zeros(RATE, np.float32)]))
    third = levels.shape[1] // 3
    assert set(levels[:, 3 : third - 3].argmax(0)) == {32}
    assert set(levels[:, third + 3 : 2 * third - 3].argmax(0)) == {128}
    assert not levels[:, 2 * third + 3 :].any()


def test_loudness_is_seen_down_to_70_db_below_the_loudest():
    quieter = {db: spectrogram(np.concatenate([tone(1000, 0.5), tone(1000, 0.5, 0.5 * 10 ** (-db / 20))]))[64, -1]
               for db in (0, 35, 69, 80)}  # fmt: skip
    assert quieter == pytest.approx({0: 1, 35: 0.5, 69: 1 / 70, 80: 0}, abs=0.005)


def test_silence_is_no_sound():
    assert not spectrogram(np.zeros(3000, np.float32)).any()


@pytest.mark.parametrize("length", [1, 399, 400, 401, 10_000])
def test_a_waveform_reaches_as_far_as_its_samples(length):
    samples = np.random.default_rng(0).uniform(-1, 1, length).astype(np.float32)
    low, high = envelope(samples)
    assert len(low) == len(high) == min(400, length)
    assert (low <= high).all()
    assert (low.min(), high.max()) == (samples.min(), samples.max())


def test_axes_are_seconds_and_kilohertz():
    wave, tones = sound_figure(tone(440, 1.5), RATE).axes
    assert (tones.get_xlabel(), tones.get_ylabel()) == ("seconds", "kHz")
    assert tones.get_xlim() == pytest.approx((0, 1.5))
    assert tones.get_ylim() == pytest.approx((0, RATE / 2000))
    assert wave.get_ylim() == (-1, 1)
