"""Images in tar archives that are damaged, or hold what is no image."""

import io
import itertools
import tarfile

import pytest
from PIL import Image
from read_back import NOTHING, SIZE, png, read_all

from echelon.recipes.images.made import write_tar
from echelon.recipes.images.rows import Division, Problem
from echelon.recipes.images.sources import find_source
from echelon.recipes.images.tars import Member, members


def encoded(image, kind="JPEG"):
    file = io.BytesIO()
    image.save(file, format=kind)
    return file.getvalue()


@pytest.mark.parametrize("flat", [False, True], ids=["of a class", "flat"])
@pytest.mark.parametrize("place", ["first", "last"])
def test_broken_images_are_told_and_the_rest_is_read(tmp_path, flat, place):
    """Trap: an endless loop on an undecodable image."""
    bad = [("empty.png", b""), ("cut.png", png()[:40]), ("no.png", b"this is no image"), ("wide.JPEG", b"\xff\xd8\xff")]
    good = [
        ("good.png", png()),
        ("grey.JPEG", encoded(Image.new("L", (20, 20), 9))),
        ("cmyk.JPEG", encoded(Image.new("CMYK", (20, 20)))),
        ("palette.png", encoded(Image.new("P", (20, 20)), "PNG")),
    ]
    files = bad + good if place == "first" else good + bad
    write_tar(tmp_path / "raw" / "n01443537.tar", files)
    if flat:
        (tmp_path / "raw" / "n01443537.txt").write_text("".join(f"{name} 0\n" for name, _ in files))
    storage, found = find_source(str(tmp_path / "raw"), SIZE, NOTHING)
    parts = [part for item in found.items for part in item.rows(storage)]
    problems = {part.item for part in parts if isinstance(part, Problem)}
    rows = [part for part in parts if not isinstance(part, Problem)]
    assert problems == {f"n01443537.tar/{name}" for name, _ in bad}
    assert {key for part in rows for key in part.keys} == {f"n01443537.tar/{name}" for name, _ in good}
    assert sum(part.converted for part in rows) == 3


def test_what_is_no_file_in_an_archive_is_told_or_passed_over(tmp_path):
    with tarfile.open(tmp_path / "n01443537.tar", "w") as archive:
        for name, kind in (("folder", tarfile.DIRTYPE), ("soft.png", tarfile.SYMTYPE), ("hard.png", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "folder/a.png"
            archive.addfile(info)
        for name in ("folder/a.png", "folder/._a.png", "b.png", "b.png", "notes.md", "x" * 150 + ".png"):
            info = tarfile.TarInfo(name)
            info.size = len(png())
            archive.addfile(info, io.BytesIO(png()))
    _, rows, problems = read_all(tmp_path)
    tar = "n01443537.tar/"
    assert set(rows["train"]) == {f"{tar}folder/a.png", f"{tar}b.png", f"{tar}{'x' * 150}.png"}
    assert [problem.item for problem in problems] == [
        f"{tar}{name}" for name in ("soft.png", "hard.png", "b.png", "notes.md")
    ]


def test_an_archive_cut_off_anywhere_comes_to_an_end_and_says_so(tmp_path):
    write_tar(tmp_path / "whole.tar", [(f"{i}.png", png(i)) for i in range(4)])
    whole = (tmp_path / "whole.tar").read_bytes()
    used = 4 * (512 + -(-len(png()) // 512) * 512)
    for length in [0, 1, 511, 512, 600, *range(used - 700, used + 1, 50), used]:
        found = list(members(io.BytesIO(whole[:length]), "x.tar"))
        assert any(isinstance(each, Problem) for each in found), length
        assert len([each for each in found if isinstance(each, Member)]) <= 4
    assert [each.name for each in members(io.BytesIO(whole), "x.tar")] == [f"{i}.png" for i in range(4)]


def with_size(path, size, place):
    """Rewrites the size in the header of a member (GNU's binary form), and the checksum with it."""
    content = bytearray(path.read_bytes())
    member = 512 + -(-len(png()) // 512) * 512
    header = content[place * member : place * member + 512]
    header[124:136] = (b"\xff" if size < 0 else b"\x80") + (size % 256**11).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content[place * member : place * member + 512] = header
    path.write_bytes(content)


@pytest.mark.parametrize("size", [-512, -1536, -(2**70), 2**30, 2**60, 2**70])
@pytest.mark.parametrize("flat", [False, True], ids=["of a class", "flat"])
def test_a_size_in_a_header_is_not_believed(tmp_path, size, flat):
    """Trap 31: a negative one leads back, and was read for ever; an absurd one asked for all memory."""
    tar = tmp_path / "n01443537.tar"
    write_tar(tar, [(f"{i}.png", png(i)) for i in range(4)])
    with_size(tar, size, 2)
    assert len(list(itertools.islice(members(io.BytesIO(tar.read_bytes()), "x"), 10))) < 10
    if flat:
        (tmp_path / "n01443537.txt").write_text("".join(f"{i}.png 0\n" for i in range(4)))
    _, rows, problems = read_all(tmp_path)
    assert set(rows["train"]) == {"n01443537.tar/0.png", "n01443537.tar/1.png"}
    assert problems
    assert all(problem.item.startswith("n01443537.tar") for problem in problems)


@pytest.mark.parametrize("kind", [b"L", b"x"], ids=["gnu", "pax"])
def test_names_of_names_and_names_of_exabytes_come_to_an_end(kind):
    info = tarfile.TarInfo("name")
    info.type, info.size = kind, 512
    chained = info.tobuf(tarfile.GNU_FORMAT) + b"n" * 512
    info.size = 2**60
    for content in (chained * 2000, info.tobuf(tarfile.GNU_FORMAT) + b"n" * 512):
        found = list(itertools.islice(members(io.BytesIO(content), "x.tar"), 10))
        assert [type(each) for each in found] == [Problem]


@pytest.mark.parametrize("division", [NOTHING, Division(0.5, 0)], ids=["whole", "divided"])
def test_the_images_before_a_damage_are_kept(tmp_path, division):
    good, cut, damaged, empty = ("n01443537", "n02056570", "n02099601", "n09332890")
    for name in (good, cut, damaged):
        write_tar(tmp_path / f"{name}.tar", [(f"{i}.png", png(i)) for i in range(6)])
    write_tar(tmp_path / f"{empty}.tar", [])
    member = 512 + -(-len(png()) // 512) * 512
    content = (tmp_path / f"{cut}.tar").read_bytes()
    (tmp_path / f"{cut}.tar").write_bytes(content[: 3 * member + 600])
    (tmp_path / f"{damaged}.tar").write_bytes(content[: 2 * member] + b"\x55" * 512 + content[2 * member + 512 :])
    (tmp_path / "n10000000.tar").write_bytes(b"this is no archive" * 100)
    _, rows, problems = read_all(tmp_path, division)
    kept = sorted(key for of in rows.values() for key in of)
    assert kept == [f"{good}.tar/{i}.png" for i in range(6)] + [f"{cut}.tar/{i}.png" for i in range(3)] + [
        f"{damaged}.tar/{i}.png" for i in range(2)
    ]
    told = {problem.item: problem.reason for problem in problems}
    assert told[f"{cut}.tar/3.png"] == "the archive is cut off within it"
    assert "cut off" in told[f"{cut}.tar"]
    assert f"damaged at byte {2 * member}" in told[f"{damaged}.tar"]
    assert told[f"{empty}.tar"] == "it holds no images"
    assert "n10000000.tar" in told
