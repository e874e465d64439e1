"""What a source of images is, found by looking at it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from echelon.data.files import files_at, is_hidden
from echelon.data.storage import Entry, Storage
from echelon.errors import DataError
from echelon.recipes.images.archive_layout import find_archives
from echelon.recipes.images.cifar import find_cifar
from echelon.recipes.images.folders import find_folders, find_photos
from echelon.recipes.images.lmdb_source import find_databases
from echelon.recipes.images.meaning import OtherClasses, some
from echelon.recipes.images.parquet_source import find_parquet
from echelon.recipes.images.rows import Division, Problem, Reported, Source

SUPPORTED = (
    "a folder of CIFAR-10 batches (binary or Python version) or one of them; "
    "a folder with a folder of images for each class, optionally below train/, val/ and test/; "
    "tar archives of ImageNet's form, that is one for each class, in a folder or in one archive, and X.tar with X.txt "
    "(a name and a label number a line), of which val.tar is the split val; class names are taken from a file such as "
    "synset_words.txt beside them; Caffe's LMDB, on a disk, one or train, val and test; Parquet with a column data or "
    "image (encoded images, or pixels of 0 to 255 as bytes or a list: red, green and blue planes, square or of --size) "
    "and a column label (numbers or names), as SparkNet and Hugging Face's datasets write"
)
_OTHER_KINDS = (".tar", ".mdb", ".parquet")
PREDICTED = "; to predict, images or an archive of them without labels"


def find_source(
    url: str,
    size: tuple[int, int],
    division: Division,
    classes: Sequence[str] | None = None,
    blue_first: bool = True,
) -> tuple[Storage, Source]:
    """The source at a URL, and the storage that its items are read from.

    Args:
        url: a folder, or one file. size: height and width for images that come in any size.
        division: how to divide what has no test part.
        classes: names that the labels must mean, in this order, so that another source fits a trained model; images
            without labels have then the label -1.
        blue_first: the order of the channels of pixels that an LMDB of Caffe holds unencoded.

    Raises:
        DataError: nothing known is there (the message says what is, and what is known). OtherClasses: its classes are
        none of those that are wanted.
    """
    storage, entries = files_at(url)
    found = _recognised(storage, entries, size, division, classes, blue_first)
    if found is None:
        known = SUPPORTED if classes is None else SUPPORTED + PREDICTED
        names = [entry.path for entry in entries]
        raise DataError(f"no images were recognised at {url}: {_described(names)}. Supported is {known}")
    if classes is not None and tuple(classes) != found.classes:
        raise OtherClasses(
            f"the classes at {url} are {some(found.classes)}, but {some(classes)} are wanted, in this order"
        )
    return storage, found


def _recognised(
    storage: Storage,
    entries: Sequence[Entry],
    size: tuple[int, int],
    division: Division,
    classes: Sequence[str] | None,
    blue_first: bool,
) -> Source | None:
    names = [entry.path for entry in entries]
    cifar = find_cifar(storage, [name for name in names if "/" not in name], division)
    if cifar is not None:
        return cifar
    found = find_folders(names, size, division, classes)
    if found is not None:
        return replace(found, items=(*_left_out(names), *found.items))
    found = (
        find_archives(storage, entries, size, division, classes)
        or find_databases(storage, entries, size, division, classes, blue_first)
        or find_parquet(storage, entries, size, division, classes)
    )
    if found is not None or classes is None:
        return found
    photos = find_photos(names, size)
    return Source("images without labels", tuple(classes), photos) if photos else None


def _left_out(names: Sequence[str]) -> list[Reported]:
    """Sources of other kinds among files of which the class folders are taken, to be reported."""
    others = [name for name in names if name.lower().endswith(_OTHER_KINDS) and not is_hidden(name)]
    why = "left out, since there are class folders beside it: if it holds other images, prepare it by itself"
    return [Reported(tuple(Problem(name, why) for name in others))] if others else []


def _described(names: Sequence[str]) -> str:
    if not names:
        return "there are no files"
    endings = Counter("." + n.rsplit(".", 1)[1] if "." in n.rsplit("/", 1)[-1] else "no ending" for n in names)
    kinds = ", ".join(f"{count} with {ending}" for ending, count in endings.most_common(4))
    return f"there are {len(names)} files ({kinds}), such as {names[0]}"
