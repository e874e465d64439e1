"""Examples of TFRecord files as videos: what must be in one, and what is wrong where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelon.errors import DataError
from echelon.recipes.video.columns import (
    AUDIO,
    FRAME,
    LABELS,
    MEAN_AUDIO,
    MEAN_RGB,
    MOST_CLASSES,
    PICTURE,
    RGB,
    SIZES,
    SOUND,
    VIDEO,
    Level,
)
from echelon.recipes.video.proto import messages
from echelon.recipes.video.wire import IDS, Fields, Unusual, read, read_ids

_MOST_UNUSUAL_BYTES = 4 << 20
"""Of a record that protobuf reads, which may take fifty times as much memory."""
_FEATURES = {FRAME: (RGB, AUDIO), VIDEO: (MEAN_RGB, MEAN_AUDIO)}


class Example(NamedTuple):
    """One video.

    labels: uint16, sorted, each once. features: by column, as in a dataset of its level. cut: frames that were left
    out, since there are more than wanted.
    """

    key: str
    labels: NDArray[np.uint16]
    features: Mapping[str, NDArray]
    cut: int = 0


@dataclass(frozen=True)
class Form:
    """What is wanted of every record."""

    level: Level
    audio: bool = True
    max_frames: int = 300

    @property
    def features(self) -> tuple[str, ...]:
        return (PICTURE[self.level], SOUND[self.level]) if self.audio else (PICTURE[self.level],)


def parse(content: bytes, form: Form) -> Example:
    """The video of a record.

    Raises:
        DataError: the record is no such example, or something that is wanted is missing.
    """
    return _checked(fields_of(content), form)


def fields_of(content: bytes) -> Fields:
    """What a record says.

    Raises:
        DataError: it is no example.
    """
    try:
        return read(content)
    except Unusual:
        return read_by_protobuf(content)


def level_of(content: bytes) -> Level:
    """Whether a record has frames or their means.

    Raises:
        DataError: it is no example, or of something else.
    """
    found = fields_of(content)
    for level, names in _FEATURES.items():
        if names[0] in found.features:
            return level
    raise DataError(f"it has neither '{RGB}' nor '{MEAN_RGB}', but {_listed(found)}")


def key_of(content: bytes) -> str:
    """The id of a record's video.

    Raises:
        DataError: it has none.
    """
    return _key(fields_of(content).ids)


def key_at_front(head: bytes) -> str | None:
    """The id of a video, if it can be seen in the first bytes of its record."""
    try:
        return _key(read_ids(head))
    except (Unusual, DataError):
        return None


def _checked(found: Fields, form: Form) -> Example:
    key = _key(found.ids)
    # The shards to be predicted have no labels.
    labels = sorted(set(found.labels or ()))
    if labels and not 0 <= labels[0] <= labels[-1] < MOST_CLASSES:
        wrong = labels[0] if labels[0] < 0 else labels[-1]
        raise DataError(f"the label {wrong} is not in 0…{MOST_CLASSES - 1}")
    features: dict[str, Any] = {name: found.features.get(name) for name in form.features}
    for name, array in features.items():
        if array is None:
            remedy = "; --no-audio does without" if name == SOUND[form.level] else ""
            raise DataError(f"'{name}' is missing; it has {_listed(found)}{remedy}")
    cut = _check_frames(features, form) if form.level == FRAME else _check_means(features)
    kept = {name: array[: form.max_frames] for name, array in features.items()} if cut else features
    return Example(key, np.array(labels, np.uint16), kept, cut)


def _check_frames(features: Mapping[str, NDArray], form: Form) -> int:
    """How many frames there are beyond those that are wanted."""
    lengths = {name: len(array) for name, array in features.items()}
    if len(set(lengths.values())) > 1:
        raise DataError("it has " + " but ".join(f"{count} frames of '{name}'" for name, count in lengths.items()))
    count = lengths[form.features[0]]
    if not count:
        raise DataError("it has no frames")
    return max(0, count - form.max_frames)


def _check_means(features: Mapping[str, NDArray]) -> int:
    for name, array in features.items():
        if array.shape != (SIZES[name],):
            raise DataError(f"'{name}' has {len(array)} numbers instead of {SIZES[name]}")
        # All of them are; looked for as bytes, which takes a third of the time of `all`.
        if b"\0" in np.isfinite(array).tobytes():
            raise DataError(f"'{name}' holds what is no number")
    return 0


def _key(ids: Mapping[bytes, bytes]) -> str:
    for name in IDS:
        if name in ids:
            try:
                return ids[name].decode()
            except UnicodeDecodeError:
                raise DataError(f"its id is no text: {ids[name][:20]!r}") from None
    raise DataError("its 'id' is missing")


def _listed(found: Fields) -> str:
    names = [*(name.decode() for name in found.ids), *([LABELS] if found.labels is not None else []), *found.features]
    return ", ".join(names) or "no known feature"


def read_by_protobuf(content: bytes) -> Fields:
    """
    Raises:
        DataError: as in `fields_of`, or it is too large for this.
    """
    from google.protobuf.message import DecodeError

    if len(content) > _MOST_UNUSUAL_BYTES:
        raise DataError(f"its {len(content):,} bytes are not those of a video as YouTube-8M has them")
    sequence = messages().sequence()
    try:
        # Of an Example, whose first field is the same, this reads all.
        sequence.ParseFromString(content)
    except DecodeError:
        raise DataError("it is neither an Example nor a SequenceExample of TensorFlow") from None
    found = Fields(sequence=sequence.HasField("feature_lists"))
    for name, feature in sequence.context.feature.items():
        _take(name, feature, found)
    for name, frames in sequence.feature_lists.feature_list.items():
        if name in _FEATURES[FRAME]:
            found.features[name] = _frames(name, frames.feature)
    return found


def _take(name: str, feature: Any, found: Fields) -> None:
    if name.encode() in IDS:
        values = feature.bytes_list.value
        if len(values) != 1:
            raise DataError(f"its '{name}' has {len(values)} values of bytes instead of one")
        found.ids[name.encode()] = values[0]
    elif name == LABELS:
        if feature.WhichOneof("kind") not in (None, "int64_list"):
            raise DataError(f"its '{name}' are no whole numbers")
        found.labels = feature.int64_list.value
    elif name in _FEATURES[VIDEO]:
        found.features[name] = np.array(feature.float_list.value, np.float32)


def _frames(name: str, frames: Any) -> NDArray[np.uint8]:
    """
    Raises:
        DataError: a frame has other than the usual number of bytes.
    """
    size, rows = SIZES[name], []
    for number, frame in enumerate(frames):
        values = frame.bytes_list.value
        if len(values) != 1 or len(values[0]) != size:
            got = f"{len(values[0])} bytes" if len(values) == 1 else f"{len(values)} values of bytes"
            raise DataError(f"frame {number} of '{name}' has {got} instead of {size} bytes")
        rows.append(values[0])
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, size)
