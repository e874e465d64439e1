"""Videos as rows of a dataset."""

from __future__ import annotations

from collections.abc import Sequence

from echelon.data.schema import Values
from echelon.errors import DataError
from echelon.recipes.video.columns import KEY, LABELS
from echelon.recipes.video.examples import Example, Form, parse
from echelon.recipes.video.tfrecord import Loss, Place

CUT = "cut"
"""The counter of videos of which frames were left out."""


def video_of(content: bytes | Loss, place: Place, form: Form) -> Example | Loss:
    """The video of a record, or why there is none."""
    if isinstance(content, Loss):
        return content
    try:
        return parse(content, form)
    except DataError as error:
        return Loss(place.number, place.start, place.end - place.start, str(error))


def values_of(videos: Sequence[Example], form: Form) -> dict[str, Values]:
    """The columns of a dataset of some videos."""
    features: dict[str, Values] = {name: [video.features[name] for video in videos] for name in form.features}
    return {**features, LABELS: [video.labels for video in videos], KEY: [video.key for video in videos]}


def cut_of(videos: Sequence[Example]) -> int:
    """How many of them had more frames than wanted."""
    return sum(video.cut > 0 for video in videos)
