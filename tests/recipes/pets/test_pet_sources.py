"""Which files are taken, and which breed each is of."""

from __future__ import annotations

import pytest

from echelon.errors import DataError
from echelon.recipes.pets.names import breed_of
from echelon.recipes.pets.sources import BYTES_PER_ITEM, FILES_PER_ITEM, LARGEST, find_source


@pytest.mark.parametrize(
    ("path", "breed"),
    [
        ("Abyssinian_100.jpg", "Abyssinian"),
        ("american_pit_bull_terrier_7.jpg", "american_pit_bull_terrier"),
        ("dogs/Saint_Bernard_12_3.JPEG", "Saint_Bernard_12"),
        ("Bull_1.2/Boxer_9.png", "Boxer"),
        ("keeshond_7.json", "keeshond"),
        ("E\u0301pagneul_1.jpg", "\u00c9pagneul"),
        ("keeshond.jpg", None),
        ("keeshond_x.jpg", None),
        ("_7.jpg", None),
        ("keeshond_7", None),
        ("keeshond_7.jpg/readme", None),
    ],
)
def test_a_breed_is_the_name_of_the_file_without_the_last_number(path, breed):
    assert breed_of(path) == breed


def touched(folder, *names, content=b"x"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def labels(source):
    return {path: label for item in source.items for path, label in item.files}


def test_breeds_whose_names_are_within_each_other_stay_apart(tmp_path):
    """Trap 15: a label by substring would make every Pit_Bull a Bull."""
    touched(tmp_path, "Bull_1.jpg", "Pit_Bull_1.jpg", "Bull_Pit_2.jpg", "Bull_10.jpg", "bull_1.jpg")
    source = find_source(str(tmp_path))
    assert source.classes == ("Bull", "Bull_Pit", "Pit_Bull", "bull")
    assert labels(source) == {
        "Bull_1.jpg": 0, "Bull_10.jpg": 0, "Bull_Pit_2.jpg": 1, "Pit_Bull_1.jpg": 2, "bull_1.jpg": 3
    }  # fmt: skip


def test_images_at_any_depth_are_taken_and_nothing_is_lost_silently(tmp_path):
    touched(tmp_path, "cats/Bengal_1.jpg", "dogs/Boxer_2.PNG", "stray.jpg", "Boxer_3.mat", ".trash/Boxer_4.jpg")
    touched(tmp_path, "cats/._Bengal_1.jpg", "Boxer_2.json")
    source = find_source(str(tmp_path))
    assert labels(source) == {"cats/Bengal_1.jpg": 0, "dogs/Boxer_2.PNG": 1}
    assert source.others == 4
    (problem,) = [problem for item in source.items for problem in item.problems]
    assert problem.item == "stray.jpg"
    assert "Breed_name_N" in problem.reason


def test_for_a_trained_model_its_labels_hold_and_unknown_breeds_have_none(tmp_path):
    touched(tmp_path, "Boxer_1.jpg", "Bengal_2.jpg", "Beagle_3.jpg", "me.jpg")
    source = find_source(str(tmp_path), ("Boxer", "Sphynx", "Bengal"))
    assert source.classes == ("Boxer", "Sphynx", "Bengal")
    assert labels(source) == {"Beagle_3.jpg": -1, "Bengal_2.jpg": 2, "Boxer_1.jpg": 0, "me.jpg": -1}


def test_items_are_small_in_files_and_in_bytes(tmp_path):
    touched(tmp_path, *(f"Boxer_{number}.jpg" for number in range(70)))
    assert [len(item.files) for item in find_source(str(tmp_path)).items] == [FILES_PER_ITEM, FILES_PER_ITEM, 6]
    for number in range(3):
        with (tmp_path / f"A_{number}.jpg").open("wb") as file:
            file.truncate(BYTES_PER_ITEM // 2 + 1)
    with (tmp_path / "A_9.jpg").open("wb") as file:
        file.truncate(LARGEST + 1)
    told, *items = find_source(str(tmp_path)).items
    assert [problem.item for problem in told.problems] == ["A_9.jpg"]
    assert [len(item.files) for item in items][:2] == [1, 1]
    assert sum(len(item.files) for item in items) == 73


def test_a_file_a_pattern_and_json_are_sources(tmp_path):
    touched(tmp_path / "some", "Boxer_1.json", "Boxer_2.json", "Bengal_1.json", "readme.txt")
    source = find_source(str(tmp_path / "some"))
    assert source.is_json
    assert source.classes == ("Bengal", "Boxer")
    assert find_source(str(tmp_path / "some" / "Boxer*")).paths == ["Boxer_1.json", "Boxer_2.json"]
    touched(tmp_path, "Boxer_7.jpg")
    assert find_source(str(tmp_path / "Boxer_7.jpg")).paths == ["Boxer_7.jpg"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "there are no files"),
        (("notes.txt",), "1 files, such as notes.txt"),
        (("a.jpg", "b.jpg"), "breed of not one"),
    ],
)
def test_other_folders_are_refused(tmp_path, names, message):
    touched(tmp_path, *names)
    with pytest.raises(DataError, match=message):
        find_source(str(tmp_path))
