"""Files of sound as samples: any format, rate and number of channels, whole, damaged or none at all."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from echelon.errors import DataError
from echelon.recipes.music.audio import opened
from echelon.recipes.music.listening import Heard, Wish, codes_of, listen
from echelon.recipes.music.made import made_song, write_song
from echelon.recipes.music.mulaw import encode

ENDINGS = ("wav", "flac", "aiff", "ogg", "opus", "mp3")
CUT = (*ENDINGS, "au", "w64", "rf64")
EXACT = ("wav", "flac", "aiff")
RATE = 44_100


def heard(path: Path, wish: Wish) -> tuple[Heard, NDArray[np.float32]]:
    spool = io.BytesIO()
    found = listen(str(path), wish, spool)
    samples = np.frombuffer(spool.getvalue(), np.float32)
    assert len(samples) == found.samples
    assert found.peak == pytest.approx(np.abs(samples).max(initial=0))
    return found, samples


def rate_for(ending: str) -> int:
    return 48_000 if ending == "opus" else RATE


@pytest.mark.parametrize("ending", ENDINGS)
def test_blocks_are_what_is_decoded_at_once(tmp_path: Path, ending: str) -> None:
    """Reading in blocks has changed sound before: see `echelon.recipes.music.audio`."""
    rate = rate_for(ending)
    song = np.concatenate([made_song(4, rate, 2, seed) for seed in range(2)])
    song += np.random.default_rng(0).normal(0, 0.02, song.shape).astype(np.float32)
    write_song(tmp_path / f"song.{ending}", song, rate)
    whole = soundfile.read(tmp_path / f"song.{ending}", dtype="float32")[0]
    with opened(str(tmp_path / f"song.{ending}")) as sound:
        assert (sound.rate, sound.channels, sound.declared) == (rate, 2, len(song))
        blocks = [block.copy() for block in sound.blocks]
    assert len(blocks) > 3
    found = np.concatenate(blocks)
    assert found.shape == whole.shape == song.shape
    # Two decoders of mp3 may differ in the last of 16 bits.
    np.testing.assert_allclose(found, whole, atol=1e-4 if ending == "mp3" else 0)
    if ending in EXACT:
        np.testing.assert_allclose(found, song, atol=1 / 32_768)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 37_800, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_any_rate_and_channels_become_mono_of_the_wished_rate(tmp_path: Path, rate: int, channels: int) -> None:
    """Trap: a source rate that is taken for granted. A tone stays the tone that it is, for as long as it was."""
    time = np.arange(rate * 2) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    song = np.zeros((len(tone), channels))
    song[:, 0] = tone * channels
    write_song(tmp_path / "tone.wav", song * 0.1, rate)
    found, samples = heard(tmp_path / "tone.wav", Wish(16_000))
    assert abs(len(samples) - 32_000) <= 1
    assert (found.declared, found.decoded, found.lost, found.invalid) == (2, 2, None, 0)
    wanted = 0.05 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
    np.testing.assert_allclose(samples[1000:31_000], wanted[1000:31_000], atol=2e-3)


def test_a_stream_is_resampled_as_the_whole_would_be(tmp_path: Path) -> None:
    song = made_song(7, RATE, 1)
    write_song(tmp_path / "song.flac", song, RATE)
    _, samples = heard(tmp_path / "song.flac", Wish(16_000))
    np.testing.assert_allclose(samples, soxr.resample(song[:, 0], RATE, 16_000, quality="HQ"), atol=1e-4)
    assert np.array_equal(samples, heard(tmp_path / "song.flac", Wish(16_000))[1])


def test_a_part_of_a_song_is_that_part(tmp_path: Path) -> None:
    write_song(tmp_path / "song.wav", made_song(5, 16_000, 1), 16_000)
    _, whole = heard(tmp_path / "song.wav", Wish(16_000))
    found, part = heard(tmp_path / "song.wav", Wish(16_000, start=1.5, seconds=2.25))
    assert np.array_equal(part, whole[24_000:60_000])
    assert not found.is_whole
    assert found.lost is None, "the rest was not wanted"
    found, rest = heard(tmp_path / "song.wav", Wish(16_000, start=4.5, seconds=2.25))
    assert found.is_whole
    assert np.array_equal(rest, whole[72_000:])
    assert heard(tmp_path / "song.wav", Wish(16_000, start=9))[0].samples == 0


@pytest.mark.parametrize("normalise", [True, False])
def test_codes_are_those_of_the_scaled_samples(tmp_path: Path, normalise: bool) -> None:
    write_song(tmp_path / "song.wav", made_song(9, 16_000, 1) * 0.3, 16_000)
    spool = io.BytesIO()
    found = listen(str(tmp_path / "song.wav"), Wish(16_000), spool)
    samples = np.frombuffer(spool.getvalue(), np.float32)
    codes = np.concatenate(list(codes_of(spool, found, normalise=normalise)))
    scale = np.float32(1 / np.abs(samples).max()) if normalise else np.float32(1)
    assert np.array_equal(codes, encode(samples * scale))
    assert (codes.max() == 255 or codes.min() == 0) == normalise


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def scratched(content: bytes) -> bytes:
    middle, noise = len(content) // 2, np.random.default_rng(1).integers(0, 256, 1500).astype(np.uint8).tobytes()
    return content[:middle] + noise + content[middle + len(noise) :]


@pytest.mark.parametrize("ending", CUT)
def test_of_a_file_that_was_cut_off_the_beginning_is_kept_and_the_rest_told(tmp_path: Path, ending: str) -> None:
    rate = rate_for(ending)
    path = tmp_path / f"song.{ending}"
    write_song(path, made_song(8, rate, 1), rate)
    _, whole = heard(path, Wish(16_000))
    path.write_bytes(cut(path.read_bytes()))
    found, samples = heard(path, Wish(16_000))
    assert 2.5 < found.decoded < 5.5
    kept = round((found.decoded - 0.2) * 16_000)
    np.testing.assert_allclose(samples[:kept], whole[:kept], atol=1e-4)
    assert found.lost is not None
    assert "lost: it was cut off" in found.lost or "lost: it is damaged" in found.lost
    if ending not in ("ogg", "opus"):
        assert found.declared == pytest.approx(8, abs=0.01)
        assert f"{8 - found.decoded:.2f} of 8.00 s" in found.lost


@pytest.mark.parametrize(("ending", "most"), [("ogg", 1.0), ("mp3", 1.0), ("flac", 6.5)])
def test_of_a_scratched_file_what_can_be_had_is_kept(tmp_path: Path, ending: str, most: float) -> None:
    path = tmp_path / f"song.{ending}"
    song = made_song(12, RATE, 1) + np.random.default_rng(0).normal(0, 0.02, (12 * RATE, 1)).astype(np.float32)
    write_song(path, song, RATE)
    path.write_bytes(scratched(path.read_bytes()))
    found, _ = heard(path, Wish(16_000))
    assert 12 - most < found.decoded < 12
    assert found.lost is not None
    assert f"{12 - found.decoded:.2f} of 12.00 s are lost" in found.lost


@pytest.mark.parametrize("called", ["mp3", "wav", "flac", "ogg", "au"])
@pytest.mark.parametrize("ending", ["mp3", "wav", "flac", "ogg", "aiff"])
def test_a_file_is_what_it_holds_and_not_what_it_is_called(tmp_path: Path, ending: str, called: str) -> None:
    write_song(tmp_path / f"song.{ending}", made_song(1.5, RATE, 2), RATE)
    content = (tmp_path / f"song.{ending}").read_bytes()
    wanted, samples = heard(tmp_path / f"song.{ending}", Wish(16_000))
    (tmp_path / f"other.{called}").write_bytes(content)
    found, others = heard(tmp_path / f"other.{called}", Wish(16_000))
    assert found == wanted
    assert np.array_equal(others, samples)


@pytest.mark.parametrize(
    ("ending", "told"), [("mp3", "another song begins, of {:,} bytes"), ("ogg", "several streams")]
)
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\x00\x00\x00\x00\x00\x05hello"])
def test_of_songs_in_one_file_that_are_not_read_is_told(tmp_path: Path, ending: str, told: str, tag: bytes) -> None:
    """Decoders end where the first one says that it does, as if there were no more."""
    for number in range(2):
        write_song(tmp_path / f"{number}.{ending}", made_song(2 + number, RATE, 2, number), RATE)
    first, second = ((tmp_path / f"{number}.{ending}").read_bytes() for number in range(2))
    tag = tag if ending == "mp3" else b""
    joined = tmp_path / f"joined.{ending}"
    joined.write_bytes(tag + first + tag + second)
    found, _ = heard(joined, Wish(16_000))
    assert found.decoded == 2
    assert found.lost is not None
    assert told.format(len(tag + second)) in found.lost
    joined.write_bytes(tag + first + b"TAG" + bytes(125))
    assert heard(joined, Wish(16_000))[0].lost is None
    joined.write_bytes(tag + first + bytes(200_000))
    assert (heard(joined, Wish(16_000))[0].lost or "cut off").endswith("cut off"), "of ogg nobody knows"


def test_flac_that_does_not_say_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    """As of an encoder that writes into a pipe: RFC 9639, 8.2, 36 bits of the first block are 0 then."""
    path = tmp_path / "song.flac"
    write_song(path, made_song(4, RATE, 2), RATE)
    _, wanted = heard(path, Wish(16_000))
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    found, samples = heard(path, Wish(16_000))
    assert (found.declared, found.decoded, found.lost) == (None, 4, None)
    assert np.array_equal(samples, wanted)


def headless(content: bytes) -> bytes:
    """An mp3 of MPEG 1 with one channel or two without its first frame, which says how long it is."""
    assert b"Xing" in content[:200] or b"Info" in content[:200]
    kilobits = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)[content[2] >> 4]
    start = 144 * kilobits * 1000 // RATE + (content[2] >> 1 & 1)
    assert content[start : start + 2] == content[:2]
    return content[start:]


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_that_does_not_say_its_length_is_read_to_its_end(tmp_path: Path, mode: str) -> None:
    """An estimate by the rate of its first frames, which are silent, would end it early or be taken for a damage."""
    song = np.concatenate([np.zeros((RATE, 1), np.float32), made_song(10, RATE, 1)])
    song[RATE:] += np.random.default_rng(0).normal(0, 0.1, (10 * RATE, 1)).astype(np.float32)
    path = tmp_path / "song.mp3"
    soundfile.write(path, song, RATE, format="MP3", bitrate_mode=mode, compression_level=0.5)
    path.write_bytes(headless(path.read_bytes()))
    found, _ = heard(path, Wish(16_000))
    assert found.decoded == pytest.approx(11, abs=0.1)
    assert found.lost is None


def test_an_mp3_behind_large_tags_and_before_others_is_read(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    write_song(path, made_song(3, RATE, 1), RATE)
    _, plain = heard(path, Wish(16_000))
    size = 300_000
    tag = b"ID3\x04\x00\x00" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(size)
    path.write_bytes(tag + path.read_bytes() + b"TAG" + bytes(125))
    found, tagged = heard(path, Wish(16_000))
    assert found.lost is None
    assert len(plain) - len(tagged) < 0.03 * 16_000, "a frame, at the end"
    np.testing.assert_array_equal(tagged[:47_000], plain[:47_000])


@pytest.mark.parametrize("ending", ["mp3", "ogg", "wav", "flac", "opus"])
@pytest.mark.parametrize(
    "content",
    [b"", b"one two three four " * 9000, b"\0" * 200_000, b"<!doctype html>", b"RIFF", b"OggS", b"fLaC", b"ID3"],
)
def test_what_is_no_sound_is_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"song.{ending}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="it is empty" if not content else "it is no "), opened(str(path)):
        pass


def test_a_rate_that_is_none_is_refused(tmp_path: Path) -> None:
    write_song(tmp_path / "slow.wav", np.zeros((1000, 1)), 2)
    with pytest.raises(DataError, match="2 samples a second"), opened(str(tmp_path / "slow.wav")):
        pass


@pytest.mark.parametrize("kind", [np.nan, np.inf])
def test_samples_that_are_no_numbers_count_as_silence(tmp_path: Path, kind: float) -> None:
    song = made_song(2, 16_000, 2)
    song[100:110, 0] = kind
    soundfile.write(tmp_path / "song.wav", song, 16_000, subtype="FLOAT")
    found, samples = heard(tmp_path / "song.wav", Wish(16_000))
    assert found.invalid == 10
    assert (samples[100:110] == 0).all()
    assert np.isfinite(samples).all()
    assert np.array_equal(samples[200:], song[200:].mean(axis=1))


def test_samples_beyond_what_can_be_resampled_are_a_damage(tmp_path: Path) -> None:
    song = np.full((32_000, 1), 3e38, np.float32)
    song[::2] *= -1
    soundfile.write(tmp_path / "song.wav", song, 16_000, subtype="FLOAT")
    found, _ = heard(tmp_path / "song.wav", Wish(15_999))
    assert found.lost is not None
    assert "too large" in found.lost


@pytest.mark.parametrize("edit", [lambda size: b"\xff" * 4, lambda size: (size + 999).to_bytes(4, "little")])
def test_a_wav_from_a_pipe_is_whole_and_one_with_more_to_come_is_not(
    tmp_path: Path, edit: Callable[[int], bytes]
) -> None:
    path = tmp_path / "song.wav"
    write_song(path, made_song(3, 16_000, 1), 16_000)
    content = path.read_bytes()
    header = edit(len(content) + 32_000)
    path.write_bytes(content[:4] + header + content[8:])
    found, _ = heard(path, Wish(16_000))
    assert found.decoded == 3
    assert (found.lost is None) == (header == b"\xff" * 4)
