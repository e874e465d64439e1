"""Where public sets of images come from: CIFAR-10 is fetched, for ImageNet it is said what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from echelon.download.fetch import fetch
from echelon.download.file import File
from echelon.download.progress import shown
from echelon.download.unpack import unpack
from echelon.errors import EchelonError

UNCHECKED = "none"
_HOME = "https://www.cs.toronto.edu/~kriz"
CIFAR10 = {
    "binary": File(
        f"{_HOME}/cifar-10-binary.tar.gz", "cifar-10-binary.tar.gz", digest="md5:c32a1d4ab5d03f1284b67883e8d87530"
    ),
    "python": File(
        f"{_HOME}/cifar-10-python.tar.gz", "cifar-10-python.tar.gz", digest="md5:c58f30108f718f92721af3b95e74349a"
    ),
}
"""As published by its authors: Krizhevsky, "Learning multiple layers of features from tiny images", 2009."""

# The checksums are those of the download page.
IMAGENET = """\
ImageNet (ILSVRC 2012) may only be downloaded by those who have accepted its terms, so nothing is fetched here:

1. Register at https://image-net.org/signup.php with the address of your institution, and accept the terms of access:
   research and teaching, not for commercial use.
2. Log in and open https://image-net.org/challenges/LSVRC/2012/2012-downloads.php. Download into one folder
     {folder}/ILSVRC2012_img_train.tar   138 GB   md5 1d675b47d978889d74fa0da5fadfb00e   (1,000 tars, one a synset)
     {folder}/ILSVRC2012_img_val.tar     6.3 GB   md5 29b22e2961454d5413ddabcf34fc5622   (50,000 images without labels)
   `wget --continue` goes on where it was cut off; compare with `md5sum`.
3. The validation labels, as Caffe counts them (name and index in the sorted order of the synsets), are in val.txt, and
   the order is in synsets.txt, both in http://dl.caffe.berkeleyvision.org/caffe_ilsvrc12.tar.gz. (The development kit
   of the download page counts in another order.)
4. Put these two lists beside the archives, which are read where they lie (do not unpack them there), and prepare:
     tar -xzf caffe_ilsvrc12.tar.gz -C {folder} val.txt synsets.txt
     echelon images prepare {folder} DATASET --size 256x256"""

SETS = ("cifar10", "imagenet")


def download(
    name: Annotated[str, typer.Argument(help=f"a public set of images: {' or '.join(SETS)}", metavar="NAME")],
    folder: Annotated[Path, typer.Argument(help="folder for it", metavar="DIR")] = Path("."),
    version: Annotated[
        Literal["binary", "python"], typer.Option(help="cifar10: which of the published files")
    ] = "binary",
    url: Annotated[str | None, typer.Option(help="cifar10: another address of the same file")] = None,
    digest: Annotated[
        str | None,
        typer.Option(
            help="cifar10: checksum of what --url has, such as sha256:…, or none (default: the published one)"
        ),
    ] = None,
) -> str:
    """Fetches a public set of images, and says how to go on.

    What was cut off goes on with the next call; what is whole is not fetched again.
    """
    if name == "imagenet":
        return IMAGENET.format(folder=folder)
    if name != "cifar10":
        raise EchelonError(f"there is no set '{name}' to download; there are: {', '.join(SETS)}")
    published = CIFAR10[version]
    if digest is not None and url is None:
        raise EchelonError(f"--digest {digest} is for what --url has: leave it out, the published one is known")
    wanted = published.digest if digest is None else None if digest == UNCHECKED else digest
    file = File(url or published.url, published.name, digest=wanted)
    with shown() as show:
        archive = fetch(file, folder, on_progress=show)
    unpacked = [path for path in unpack(archive, folder) if path.is_dir()]
    commands = "\n".join(f"  echelon images prepare {path} DATASET" for path in unpacked)
    return f"{name} is in {', '.join(map(str, unpacked))}. Go on with:\n{commands}"
