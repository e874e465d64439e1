"""Parquet of others."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from read_back import SIZE, read_all

from echelon.errors import DataError
from echelon.recipes.images.made import made_images, to_png
from echelon.recipes.images.rows import Division

IMAGES, LABELS = made_images(30, 3, SIZE, seed=1)
EXPECTED = sorted((int(label), image.tobytes()) for image, label in zip(IMAGES, LABELS))
PNGS = [to_png(image) for image in IMAGES]
LIST = pa.list_(pa.float32())


def huggingface(names):
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


@pytest.mark.parametrize(
    "column",
    [
        {"data": pa.array([image.tobytes() for image in IMAGES], pa.binary())},
        {"data": pa.array([image.tobytes() for image in IMAGES], pa.large_binary())},
        {"data": pa.array([image.ravel().astype(np.float32) for image in IMAGES], LIST)},
        {"data": pa.array([image.ravel().astype(int).tolist() for image in IMAGES], pa.list_(pa.int32(), 144))},
        {"data": pa.array(PNGS, pa.binary())},
        {"image": pa.array([{"bytes": png, "path": "x.png"} for png in PNGS])},
        {"image": pa.array([{"bytes": png} for png in PNGS], pa.struct([("bytes", pa.large_binary())]))},
        {"img": pa.array(PNGS, pa.binary())},
    ],
    ids=["bytes", "large bytes", "floats", "fixed list", "encoded", "struct", "large struct", "img"],
)
def test_every_form_gives_the_same_rows_over_files_and_row_groups(tmp_path, column):
    table = pa.table({**column, "label": pa.array(LABELS, pa.int32())})
    pq.write_table(table.slice(0, 20), tmp_path / "part-0.parquet", row_group_size=7)
    pq.write_table(table.slice(20), tmp_path / "part-1.parquet")
    source, rows, problems = read_all(tmp_path)
    assert source.classes == ("0", "1", "2")
    assert not problems
    assert sorted(rows["train"].values()) == EXPECTED
    assert {f"part-0.parquet#{row}" for row in range(20)} | {f"part-1.parquet#{row}" for row in range(10)} == set(
        rows["train"]
    )
    label, pixels = rows["train"]["part-0.parquet#13"]
    assert (label, pixels) == (LABELS[13], IMAGES[13].tobytes())


def test_names_of_classes_keys_and_splits_are_taken_where_they_are(tmp_path):
    named = pa.table({"image": pa.array(PNGS), "label": LABELS, "key": [f"key {i}" for i in range(30)]})
    named = named.replace_schema_metadata(huggingface(["goldfish", "king penguin", "retriever", "unseen"]))
    for name, rows in (("train-00000-of-00001", 30), ("validation-00000-of-00001", 6), ("test-00000-of-00001", 3)):
        # A key belongs to one row of a source, so each split has its own.
        keyed = named.slice(0, rows).set_column(2, "key", pa.array([f"{name}/{i}" for i in range(rows)]))
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(keyed, tmp_path / "data" / f"{name}.parquet")
    source, rows, problems = read_all(tmp_path, Division(0.5, 0))
    assert source.classes == ("goldfish", "king penguin", "retriever", "unseen")
    assert not problems
    assert {split: len(of) for split, of in rows.items()} == {"train": 30, "val": 6, "test": 3}
    assert rows["train"]["train-00000-of-00001/7"] == (LABELS[7], IMAGES[7].tobytes())
    wanted = ("retriever", "goldfish", "king penguin", "unseen")
    _, others, _ = read_all(tmp_path, classes=wanted)
    assert others["train"]["train-00000-of-00001/7"][0] == wanted.index(source.classes[LABELS[7]])


@pytest.mark.parametrize("keys", [["same"] * 30, [None, *map(str, range(29))], [*map(str, range(29)), "7"]])
def test_keys_that_are_not_of_one_row_each_are_not_taken(tmp_path, keys):
    """Divisions, predictions and joins go by the key."""
    table = pa.table({"data": PNGS, "label": LABELS, "key": pa.array(keys, pa.string())})
    pq.write_table(table.slice(0, 20), tmp_path / "a.parquet")
    pq.write_table(table.slice(20), tmp_path / "b.parquet")
    _, rows, problems = read_all(tmp_path)
    assert not problems
    assert set(rows["train"]) == {f"a.parquet#{i}" for i in range(20)} | {f"b.parquet#{i}" for i in range(10)}


def test_rows_are_divided_by_their_keys_wherever_they_lie(tmp_path):
    table = pa.table({"data": PNGS, "label": LABELS, "key": [f"key {i}" for i in range(30)]})
    divided = []
    for name, order in (("forth", range(30)), ("back", range(29, -1, -1))):
        (tmp_path / name).mkdir()
        pq.write_table(table.take(list(order)), tmp_path / name / f"{name}.parquet", row_group_size=11)
        divided.append(read_all(tmp_path / name, Division(0.3, 0))[1])
    assert divided[0] == divided[1]
    assert len(divided[0]["test"]) == 9


def test_labels_that_are_names_are_the_classes(tmp_path):
    names = np.array(["wolf", "ant", "bee"])
    pq.write_table(pa.table({"data": pa.array(PNGS), "label": names[LABELS]}), tmp_path / "a.parquet")
    source, rows, _ = read_all(tmp_path)
    assert source.classes == ("ant", "bee", "wolf")
    assert sorted(rows["train"].values()) == sorted(((int(label) - 1) % 3, image) for label, image in EXPECTED)
    _, rows, _ = read_all(tmp_path, classes=("wolf", "ant", "bee", "yak"))
    assert sorted(rows["train"].values()) == EXPECTED
    with pytest.raises(DataError, match="wolf are none of ant, bee"):
        read_all(tmp_path, classes=("ant", "bee"))


def test_rows_are_divided_over_all_files_within_each_class(tmp_path):
    for row in range(30):
        table = pa.table({"data": pa.array(PNGS[row : row + 1]), "label": LABELS[row : row + 1]})
        pq.write_table(table, tmp_path / f"part-{row:02d}.parquet")
    _, rows, _ = read_all(tmp_path, Division(0.2, 0))
    assert np.bincount([label for label, _ in rows["test"].values()]).tolist() == [2, 2, 2]
    assert sorted([*rows["train"].values(), *rows["test"].values()]) == EXPECTED


def test_grey_and_square_pixels_are_recognised_by_their_number(tmp_path):
    square, grey = np.full((3, 10, 10), 7, np.uint8), np.full((1, 8, 6), 9, np.uint8)
    data = [square.tobytes(), grey.tobytes(), np.full((1, 5, 5), 3, np.uint8).tobytes()]
    pq.write_table(pa.table({"data": data, "label": [0, 1, 2]}), tmp_path / "a.parquet")
    _, rows, problems = read_all(tmp_path)
    assert not problems
    assert sorted(rows["train"].values()) == [(0, b"\x07" * 144), (1, b"\x09" * 144), (2, b"\x03" * 144)]


@pytest.mark.parametrize(("kind", "side"), [("BMP", 14), ("PPM", 11)])
def test_files_as_long_as_pixels_would_be_are_files(tmp_path, kind, side):
    file = io.BytesIO()
    image = Image.new("RGB", (side, side), (9, 8, 7))
    image.save(file, kind)
    data = file.getvalue()
    pq.write_table(pa.table({"data": [data], "label": [0]}), tmp_path / "a.parquet")
    size = (1, len(data)) if len(data) % 3 else (1, len(data) // 3)
    _, rows, problems = read_all(tmp_path, size=size)
    assert not problems
    assert rows["train"]["a.parquet#0"] == (0, bytes([9] * size[1] + [8] * size[1] + [7] * size[1]))


def test_broken_rows_are_told_and_the_rest_is_read(tmp_path):
    """Trap: an endless loop on an undecodable image."""
    cmyk = io.BytesIO()
    Image.new("CMYK", (9, 9)).save(cmyk, "JPEG")
    cells = [
        PNGS[0],
        None,
        b"",
        PNGS[1][:50],
        b"nothing" * 5,
        PNGS[2],
        PNGS[3],
        PNGS[4],
        cmyk.getvalue(),
        b"\xff\xd8\xff",
    ]
    labels = [0, 0, 0, 0, 0, None, -1, 1, 1, 1]
    pq.write_table(pa.table({"data": pa.array(cells), "label": labels}), tmp_path / "a.parquet", row_group_size=4)
    _, rows, problems = read_all(tmp_path)
    assert {problem.item for problem in problems} == {f"a.parquet#{row}" for row in (1, 2, 3, 4, 5, 6, 9)}
    assert {key: label for key, (label, _) in rows["train"].items()} == {
        "a.parquet#0": 0, "a.parquet#7": 1, "a.parquet#8": 1,
    }  # fmt: skip
    numbers = pa.array([[0.0] * 144, [300.0] * 144, [float("nan")] * 144, [1.0] * 143, [None] * 144, None], LIST)
    pq.write_table(pa.table({"data": numbers, "label": [0] * 6}), tmp_path / "a.parquet")
    _, rows, problems = read_all(tmp_path)
    assert set(rows["train"]) == {"a.parquet#0"}
    assert len(problems) == 5
    assert any("no square image and none of 6x8" in problem.reason for problem in problems)
    structs = pa.array([{"bytes": None, "path": "far.png"}, {"bytes": PNGS[0], "path": None}, None])
    pq.write_table(pa.table({"image": structs, "label": [0] * 3}), tmp_path / "a.parquet")
    _, rows, problems = read_all(tmp_path)
    assert set(rows["train"]) == {"a.parquet#1"}
    assert len(problems) == 2


def test_unlabelled_rows_are_taken_to_predict(tmp_path):
    pq.write_table(pa.table({"image": PNGS[:2]}), tmp_path / "a.parquet")
    _, rows, problems = read_all(tmp_path, Division(1, 0), ("x", "y"))
    assert not problems
    assert rows["test"]["a.parquet#1"] == (-1, IMAGES[1].tobytes())
    with pytest.raises(DataError, match="it has no label"):
        read_all(tmp_path)


def test_other_columns_and_damaged_files_are_refused_by_name(tmp_path):
    file = tmp_path / "a.parquet"
    for table, message in (
        ({"pixels": PNGS, "label": LABELS}, r"a\.parquet has pixels: binary, label: int64; a column data"),
        ({"data": LABELS, "label": LABELS}, "a column data"),
        ({"data": PNGS, "label": LABELS.astype(float)}, r"its labels are double"),
    ):
        pq.write_table(pa.table(table), file)
        with pytest.raises(DataError, match=message):
            read_all(tmp_path)
    pq.write_table(pa.table({"data": PNGS, "label": LABELS}), file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
        read_all(tmp_path)


def test_a_dataset_is_not_prepared_again(dataset):
    with pytest.raises(DataError, match="is a dataset already"):
        read_all(dataset.url)
