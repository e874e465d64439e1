"""`echelon images download`, from a server that has what is published in small."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner
from web import Site, digest_of

from echelon.cli.app import build
from echelon.errors import DataError, EchelonError
from echelon.recipes.images.cifar import read_binary
from echelon.recipes.images.download import CIFAR10
from echelon.recipes.images.made import made_images, write_cifar_binary, write_cifar_python


def published(folder: Path, version: str) -> bytes:
    """A small archive as the authors' own: a folder of batches in a tar.gz."""
    name, write = {
        "binary": ("cifar-10-batches-bin", write_cifar_binary),
        "python": ("cifar-10-batches-py", write_cifar_python),
    }[version]
    write(folder / name, [made_images(30, 10), made_images(20, 10, seed=1)], made_images(10, 10, seed=2))
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        tar.add(folder / name, name)
    return content.getvalue()


def echelon(*arguments: object) -> str:
    """The standard output of a command; its errors are raised."""
    result = CliRunner().invoke(build(["images"]), ["images", "download", *map(str, arguments)], env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.mark.parametrize(("version", "name"), [("binary", "cifar-10-batches-bin"), ("python", "cifar-10-batches-py")])
def test_cifar_is_fetched_unpacked_and_followed_by_its_next_command(
    site: Site, tmp_path: Path, version: str, name: str
) -> None:
    archive = published(tmp_path / "made", version)
    site.files["/mirror.tar.gz"] = archive
    site.cut_after, site.cuts = len(archive) // 2, 1
    home = tmp_path / "cifar"
    options = ("--version", version, "--url", f"{site.url}/mirror.tar.gz", "--digest", digest_of(archive))
    for _ in range(2):
        assert f"\n  echelon images prepare {home / name} DATASET\n" in echelon("cifar10", home, *options)
    assert site.asked == [None, f"bytes={len(archive) // 2}-"], "fetched once, though it was cut off"
    assert {p.name: p.read_bytes() for p in (home / name).iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "made" / name).iterdir()
    }
    if version == "binary":
        images, labels = read_binary((home / name / "test_batch.bin").read_bytes(), "test")
        assert (images.shape, labels.tolist()) == ((10, 3, 32, 32), list(range(10)))


def test_a_mirror_must_have_the_published_file_unless_told_otherwise(site: Site, tmp_path: Path) -> None:
    site.files["/mirror.tar.gz"] = published(tmp_path / "made", "binary")
    url = ("--url", f"{site.url}/mirror.tar.gz")
    expected = CIFAR10["binary"].digest
    assert expected is not None
    with pytest.raises(DataError, match=expected.removeprefix("md5:")):
        echelon("cifar10", tmp_path / "cifar", *url)
    assert [path.name for path in (tmp_path / "cifar").iterdir()] == ["cifar-10-binary.tar.gz.wrong"]
    assert "cifar-10-batches-bin" in echelon("cifar10", tmp_path / "cifar", *url, "--digest", "none")
    with pytest.raises(EchelonError, match="--digest none is for what --url has"):
        echelon("cifar10", tmp_path / "other", "--digest", "none")


def test_imagenet_is_explained_without_a_network_spark_or_anything_written(tmp_path: Path) -> None:
    script = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('the network was used')\n"
        "socket.socket.connect = refuse\n"
        "from echelon.cli.app import build\n"
        "build(['images'])(['images', 'download', 'imagenet', 'data'], standalone_mode=False)\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in ('pyspark', 'py4j')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    for told in ("image-net.org", "terms of access", "data/ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar",
                 "val.txt", "synsets.txt", "echelon images prepare data DATASET"):  # fmt: skip
        assert told in done.stdout
    assert done.stdout.endswith("[]\n"), "no Spark was loaded"
    assert not list(tmp_path.iterdir())


def test_an_unknown_set_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(EchelonError, match="no set 'cifar' to download; there are: cifar10, imagenet"):
        echelon("cifar", tmp_path)
