"""Images that are read where they are decoded."""

import numpy as np
import psutil
import pytest

from echelon.data.storage import open_storage
from echelon.recipes.pixels.places import Place, read, read_each


def written(folder, files):
    random = np.random.default_rng(3)
    for number in range(files):
        (folder / f"{number}.tar").write_bytes(random.bytes(1000))
    return open_storage(str(folder))


def drawn(files, count):
    """Parts of files and whole ones, some of which are not all there."""
    random = np.random.default_rng(4)
    for path, start, length in random.integers((0, 0, -1), (files, 1000, 400), (count, 3)).tolist():
        yield Place(f"{path}.tar") if length < 100 else Place(f"{path}.tar", start, length)


def expected(folder, place):
    whole = (folder / place.path).read_bytes()
    if place.length < 0:
        return whole
    part = whole[place.start : place.start + place.length]
    return part if len(part) == place.length else None


def test_parts_of_more_files_than_may_be_open_are_read_in_any_order(tmp_path):
    places, storage = list(drawn(150, 600)), written(tmp_path, 150)
    found = [expected(tmp_path, place) for place in places]
    assert None in found
    assert list(read_each(storage, places)) == [read(storage, place) for place in places] == found


def test_files_are_closed_at_the_end_and_when_nobody_wants_the_rest(tmp_path):
    storage, here = written(tmp_path, 150), psutil.Process()
    before, most = here.num_fds(), 0
    reading = read_each(storage, [Place(f"{number}.tar", 5, 10) for number in range(150)])
    for _ in range(100):
        assert len(next(reading)) == 10
        most = max(most, here.num_fds() - before)
    assert 1 < most <= 64
    reading.close()
    assert here.num_fds() == before
    assert len(list(read_each(storage, [Place("1.tar", 0, 1), Place("2.tar", 0, 1)]))) == 2
    assert here.num_fds() == before


def test_a_file_that_is_not_there_is_no_image_that_is_cut_off(tmp_path):
    storage = written(tmp_path, 1)
    reading = read_each(storage, [Place("0.tar", 0, 1), Place("gone.tar", 0, 1)])
    assert len(next(reading)) == 1
    with pytest.raises(FileNotFoundError, match=r"gone\.tar"):
        next(reading)
