"""Small images in sources of many kinds, and all that is read of them."""

import pickle

from echelon.recipes.images.made import made_images, to_png
from echelon.recipes.images.rows import Division, Problem
from echelon.recipes.images.sources import find_source

SIZE = (8, 6)
CLASSES = ("n01443537 goldfish, Carassius auratus", "n02056570 king penguin", "n02099601 golden retriever")
IDS = tuple(name.split()[0] for name in CLASSES)
TRAIN, VAL = made_images(30, 3, SIZE, seed=1), made_images(21, 3, SIZE, seed=2)
NOTHING = Division(0, 0)


def read_all(source, division=NOTHING, classes=None, size=SIZE, blue_first=True):
    """Rows by split, each {key: (label, pixels)}, and problems."""
    storage, found = find_source(str(source), size, division, classes, blue_first)
    rows, problems = {}, []
    for item in pickle.loads(pickle.dumps(found.items)):
        for part in item.rows(storage):
            if isinstance(part, Problem):
                problems.append(part)
                continue
            of_split = rows.setdefault(item.split, {})
            for key, label, image in zip(part.keys, part.labels.tolist(), part.images):
                assert not any(key in each for each in rows.values())
                of_split[key] = label, image.tobytes()
    return found, rows, problems


def expected(labelled):
    return sorted((int(label), image.tobytes()) for image, label in zip(*labelled))


def png(number=0):
    return to_png(TRAIN[0][number])
