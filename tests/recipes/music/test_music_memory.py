"""How much memory a long song takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from echelon.recipes.music.made import made_song, write_song

HOUR = 3600
RATE = 44_100
PROGRAM = Path(__file__).parent / "long_song.py"


def an_hour(folder: Path, ending: str) -> Path:
    """A song of an hour, written a piece at a time."""
    path, minute = folder / f"hour.{ending}", made_song(60, RATE, 2)
    if ending == "mp3":
        write_song(folder / "minute.mp3", minute, RATE)
        # Frames stand on their own, so one file behind another is a longer one.
        path.write_bytes((folder / "minute.mp3").read_bytes()[1000:] * 60)
        return path
    with soundfile.SoundFile(path, "w", RATE, 2) as file:
        for number in range(60):
            file.write(np.roll(minute, number * 1000, axis=0))
    return path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is reset by Linux alone")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ending", ["mp3", "flac"])
def test_an_hour_of_music_takes_no_more_memory_than_a_minute(tmp_path: Path, ending: str) -> None:
    """An hour of samples at 16 kHz is 230 MB, of the file at 44.1 kHz in stereo 1,270 MB."""
    write_song(tmp_path / f"short.{ending}", made_song(20, RATE, 2), RATE)
    arguments = [str(tmp_path / f"short.{ending}"), str(an_hour(tmp_path, ending))]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], capture_output=True, text=True, timeout=500, check=True
    )
    codes, more = map(int, done.stdout.split())
    assert codes == pytest.approx(HOUR * 16_000, rel=5e-3)
    assert 0 < more < 40
