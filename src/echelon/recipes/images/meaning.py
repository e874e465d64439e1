"""What the numbers and names of classes in a source mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from echelon.errors import DataError
from echelon.recipes.images.class_lists import ClassList, positions
from echelon.recipes.images.rows import UNLABELLED

_SHOWN = 5


class OtherClasses(DataError):
    """The labels of a source mean classes that are not those that are wanted."""


@dataclass(frozen=True)
class Meaning:
    """What labels mean. classes: in their order. ids: classes in the order of the numbers in lists of labels; None if
    the numbers are the labels. predicting: whether images without a label are taken.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...] | None
    predicting: bool
    known: Mapping[str, int] = field(default_factory=dict)

    def label(self, number: int) -> int | str:
        """The label for a number in a list, or what is wrong with it."""
        if number == UNLABELLED:
            return UNLABELLED if self.predicting else "it has no label"
        count = len(self.classes if self.ids is None else self.ids)
        if not 0 <= number < count:
            return f"its label {number} is none of the {count} classes, 0 to {count - 1}"
        if self.ids is None:
            return number
        found = self.known.get(self.ids[number], self.known.get(str(number)))
        return f"its class {self.ids[number]} (label {number}) is none of the classes here" if found is None else found


def chosen_list(lists: Sequence[ClassList], names: Sequence[str], most: int) -> ClassList | None:
    """The first list that has all classes that are there and reaches the greatest number, `most`, if there is any."""
    there = set(names)
    fits = (each for each in lists if len(each.ids) > most and there <= set(each.ids))
    return next(fits, None) if names or most >= 0 else None


def meaning_of(names: Sequence[str], most: int, listed: ClassList | None, classes: Sequence[str] | None) -> Meaning:
    """What labels mean in a source.

    Args:
        names: the classes that are known by name, sorted; none where there are only numbers, of which `most` is the
            greatest. listed: a class list that fits them. classes: names that the labels must mean.

    Raises:
        OtherClasses: a class is none of `classes`; the numbers go beyond the classes that are known, so that they count
            others, and those below would be mistaken.
    """
    ids = listed.ids if listed else tuple(names) or None
    counted = ids or classes
    if counted and most >= len(counted):
        raise OtherClasses(
            f"there are labels up to {most}, but they can count only {len(counted)} classes, {some(counted)}: put the "
            "list of all classes that they count, such as synsets.txt, beside the images, or mend the labels"
        )
    if classes is not None:
        known = positions(classes)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise OtherClasses(f"the classes {some(unknown)} are none of {some(classes)}, which are wanted")
        return Meaning(tuple(classes), ids, True, known)
    if listed is None:
        found = tuple(names) or tuple(str(number) for number in range(most + 1))
    else:
        lines = zip(listed.ids, listed.lines, strict=True)
        found = tuple(line for name, line in lines if not names or name in set(names))
    return Meaning(found, ids, False, positions(found))


def some(names: Sequence[str]) -> str:
    """A few of many names, for a message."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
