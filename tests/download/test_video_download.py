"""`echelon video download`, from a server that has what is published in small."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from web import QUICK, Site

from echelon.cli.app import build
from echelon.errors import DataError, EchelonError
from echelon.recipes.video.download import fetch_part, share_of, stored_name

CONTENTS = {f"trainA{letter}.tfrecord": bytes([ord(letter)]) * 3000 for letter in "abcdefghijAB"}


def publish(site: Site, level: str = "frame", part: str = "train") -> None:
    """Shards and their list, as the public hosts have them."""
    for name, content in CONTENTS.items():
        site.files[f"/2/{level}/{part}/{name}"] = content
    plan = {"files": {name: hashlib.md5(content).hexdigest() for name, content in CONTENTS.items()}}
    site.files[f"/2/download_plans/{level}_{part}.json"] = json.dumps(plan).encode()


def download(site: Site, *arguments: object) -> str:
    command = ["video", "download", *map(str, arguments), "--url", site.url]
    result = CliRunner().invoke(build(["video"]), command, env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result.stdout


def stored(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tfrecord*")}


def test_all_shards_are_fetched_and_the_next_command_is_said(site: Site, tmp_path: Path) -> None:
    publish(site)
    said = download(site, "train", tmp_path, "--level", "frame")
    assert stored(tmp_path / "frame") == {stored_name(name): content for name, content in CONTENTS.items()}
    assert f"echelon video prepare {tmp_path / 'frame'} DATASET" in said
    assert "CC BY 4.0" in said
    assert "12 files" in said
    asked = len(site.asked)
    download(site, "train", tmp_path, "--level", "frame")
    assert len(site.asked) == asked, "what is whole is not asked for again"


def test_names_differ_in_more_than_the_size_of_letters() -> None:
    """The public script's numbering: pairs of a to z, A to Z and 0 to 9."""
    assert stored_name("trainaa.tfrecord") == "train0000.tfrecord"
    assert stored_name("trainAa.tfrecord") == "train1612.tfrecord"
    assert stored_name("validate99.tfrecord") == "validate3843.tfrecord"
    assert stored_name("other.txt") == "other.txt"
    names = [stored_name(name).lower() for name in CONTENTS]
    assert len(set(names)) == len(names)


def test_parts_of_the_shards_are_apart_and_all_of_them(site: Site, tmp_path: Path) -> None:
    publish(site)
    parts = []
    for share in range(1, 4):
        fetch_part("train", "frame", tmp_path / str(share), share=(share, 3), url=site.url, limits=QUICK)
        parts.append(stored(tmp_path / str(share)))
    assert sum(map(len, parts)) == len(CONTENTS)
    assert len({name for part in parts for name in part}) == len(CONTENTS)
    wanted = {stored_name(n) for n in CONTENTS if int(hashlib.md5(n.encode()).hexdigest(), 16) % 3 == 1}
    assert set(parts[1]) == wanted, "the second is what the public script takes for shard=2,3"


def test_what_was_cut_off_goes_on_and_what_is_wrong_is_put_aside(site: Site, tmp_path: Path) -> None:
    publish(site)
    site.files["/2/frame/train/trainAc.tfrecord"] = b"something else"
    with pytest.raises(DataError, match="is not the published file"):
        fetch_part("train", "frame", tmp_path, url=site.url, limits=QUICK)
    before = len(site.asked)
    kept = stored(tmp_path)
    assert stored_name("trainAc.tfrecord") not in kept
    assert len(kept) > 1
    publish(site)
    site.cut_after, site.cuts = 1000, 1
    fetch_part("train", "frame", tmp_path, url=site.url, limits=QUICK)
    good = {name: content for name, content in stored(tmp_path).items() if name.endswith(".tfrecord")}
    assert good == {stored_name(name): content for name, content in CONTENTS.items()}
    # The list and the two or more shards before the wrong one are not asked for again; one is asked for twice.
    whole = sum(name.endswith(".tfrecord") for name in kept)
    assert len(site.asked) - before == len(CONTENTS) - whole + 1
    assert "bytes=1000-" in site.asked


@pytest.mark.parametrize("wrong", [b"<html>no</html>", b"[]", b'{"files": {}}', b'{"files": {"a": 1}}', b"{}"])
def test_what_is_no_list_is_put_aside_and_fetched_again(site: Site, tmp_path: Path, wrong: bytes) -> None:
    site.files["/2/download_plans/video_test.json"] = wrong
    with pytest.raises(DataError, match="no list of files and checksums"):
        fetch_part("test", "video", tmp_path, url=site.url, limits=QUICK)
    publish(site, "video", "test")
    assert len(fetch_part("test", "video", tmp_path, url=site.url, limits=QUICK)) == len(CONTENTS)


def test_a_list_cannot_write_elsewhere(site: Site, tmp_path: Path) -> None:
    plan = {"files": {"../../evil.tfrecord": "0" * 32}}
    site.files["/2/download_plans/video_test.json"] = json.dumps(plan).encode()
    with pytest.raises(EchelonError, match="cannot be stored as"):
        fetch_part("test", "video", tmp_path / "a" / "b", url=site.url, limits=QUICK)


@pytest.mark.parametrize("text", ["", "1", "0,3", "4,3", "a,b", "1,2,3", "-1,2"])
def test_parts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(EchelonError, match="--shard must be X,N"):
        share_of(text)


def test_a_part_without_a_file_is_said(site: Site, tmp_path: Path) -> None:
    publish(site)
    filled = {int(hashlib.md5(name.encode()).hexdigest(), 16) % 50 + 1 for name in CONTENTS}
    empty = min(set(range(1, 51)) - filled)
    with pytest.raises(DataError, match="of 12 files none is in the part"):
        fetch_part("train", "frame", tmp_path, share=(empty, 50), url=site.url, limits=QUICK)


def test_unknown_parts_are_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(EchelonError, match="no part 'valid' to download; there are: train, validate, test and all"):
        download(site, "valid", tmp_path)
