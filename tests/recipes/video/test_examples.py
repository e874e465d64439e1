"""Examples as videos: the fast reader beside protobuf, and what is wrong with records."""

from __future__ import annotations

import numpy as np
import pytest
from broken_records import frame_records, mean_records
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon.errors import DataError
from echelon.recipes.video import examples
from echelon.recipes.video.columns import AUDIO, FRAME, MEAN_AUDIO, MEAN_RGB, RGB, SIZES, VIDEO
from echelon.recipes.video.examples import Form, key_at_front, key_of, level_of, parse
from echelon.recipes.video.made import Means, Video, made_means, made_videos, to_record
from echelon.recipes.video.proto import messages
from echelon.recipes.video.wire import Fields, Unusual, read

FRAMES, MEANS = frame_records(3), mean_records(3)
BOTH = [*FRAMES, *MEANS]


def by_protobuf(content: bytes) -> Fields:
    """The same fields by the messages alone, slowly and without a thought; DecodeError where these refuse them."""
    sequence = messages().sequence()
    sequence.ParseFromString(content)
    found = Fields(sequence.HasField("feature_lists"))
    for name, feature in sequence.context.feature.items():
        if name in ("id", "video_id"):
            (found.ids[name.encode()],) = feature.bytes_list.value
        elif name == "labels":
            found.labels = list(feature.int64_list.value)
        else:
            found.features[name] = np.array(list(feature.float_list.value), np.float32)
    for name, frames in sequence.feature_lists.feature_list.items():
        rows = [np.frombuffer(one.bytes_list.value[0], np.uint8) for one in frames.feature]
        found.features[name] = np.stack(rows) if rows else np.empty((0, SIZES[name]), np.uint8)
    return found


def assert_same(found: Fields, true: Fields) -> None:
    assert (found.sequence, found.ids, set(found.features)) == (true.sequence, true.ids, set(true.features))
    assert found.labels == true.labels
    for name, array in true.features.items():
        assert found.features[name].dtype == array.dtype
        # Of what is no number protobuf changes a bit on its way through Python's numbers; here it counts as equal.
        np.testing.assert_array_equal(found.features[name], array)


@pytest.mark.parametrize("record", BOTH)
def test_the_usual_form_is_read_as_protobuf_reads_it(record: bytes) -> None:
    assert_same(read(record), by_protobuf(record))


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(("set", "cut", "insert", "copy")),
        st.one_of(st.integers(0, 120), st.integers(0, 1 << 20)),
        st.one_of(st.binary(min_size=1, max_size=6), st.sampled_from([b"\x0a", b"\x12", b"\x1a", b"\x80", b"\x00"])),
    ),
    min_size=1,
    max_size=4,
)
"""What is done to a record, where (mostly near its structure), and with which bytes."""


def changed(record: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    content = bytearray(record)
    for change, anywhere, some in changes:
        place = anywhere % (len(content) or 1)
        stop = place + len(some) if change in ("set", "cut") else place
        if change == "cut":
            some = b""
        elif change == "copy":
            some = content[place : place + some[0] % 60]
        content[place:stop] = some
    return bytes(content)


@settings(max_examples=300, deadline=None)
@given(changes=CHANGES, record=st.sampled_from(BOTH))
def test_whatever_is_accepted_means_the_same_to_protobuf(changes: list[tuple[str, int, bytes]], record: bytes) -> None:
    content = changed(record, changes)
    try:
        found = read(content)
    except Unusual:
        return
    assert_same(found, by_protobuf(content))


@settings(max_examples=200, deadline=None)
@given(changes=CHANGES, record=st.sampled_from(BOTH), form=st.sampled_from([Form(FRAME), Form(VIDEO)]))
def test_hostile_bytes_are_a_video_or_a_problem(
    changes: list[tuple[str, int, bytes]], record: bytes, form: Form
) -> None:
    try:
        video = parse(changed(record, changes), form)
    except DataError:
        return
    assert all(array.shape[-1] == SIZES[name] for name, array in video.features.items())
    assert (np.diff(video.labels.astype(int)) > 0).all()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_at_all_end(content: bytes) -> None:
    for form in (Form(FRAME), Form(VIDEO)):
        with pytest.raises(DataError):
            parse(content, form)


def test_frames_come_back_as_they_were() -> None:
    for video in made_videos(5, 20, frames=(1, 7)):
        found = parse(to_record(video), Form(FRAME))
        assert (found.key, found.labels.tolist(), found.cut) == (video.key, list(video.labels), 0)
        np.testing.assert_array_equal(found.features[RGB], video.rgb)
        np.testing.assert_array_equal(found.features[AUDIO], video.audio)


def test_means_come_back_as_they_were() -> None:
    for video in made_means(5, 20):
        found = parse(to_record(video), Form(VIDEO))
        assert (found.key, found.labels.tolist()) == (video.key, list(video.labels))
        np.testing.assert_array_equal(found.features[MEAN_RGB], video.mean_rgb)
        np.testing.assert_array_equal(found.features[MEAN_AUDIO], video.mean_audio)


def test_the_longest_video_is_cut_where_it_is_told() -> None:
    (video,) = made_videos(1, 3, frames=(9, 9))
    found = parse(to_record(video), Form(FRAME, max_frames=4))
    assert found.cut == 5
    np.testing.assert_array_equal(found.features[RGB], video.rgb[:4])
    np.testing.assert_array_equal(found.features[AUDIO], video.audio[:4])


def ragged(sizes: list[int]) -> bytes:
    """A video whose frames of the picture have these numbers of bytes."""
    sequence = messages().sequence()
    sequence.context.feature["id"].bytes_list.value.append(b"abcd")
    for name, of_frames in ((RGB, sizes), (AUDIO, [SIZES[AUDIO]] * len(sizes))):
        for size in of_frames:
            sequence.feature_lists.feature_list[name].feature.add().bytes_list.value.append(bytes(size))
    return bytes(sequence.SerializeToString())


def without(record: bytes, name: str) -> bytes:
    sequence = messages().sequence.FromString(record)
    for fields in (sequence.context.feature, sequence.feature_lists.feature_list):
        if name in fields:
            del fields[name]
    return bytes(sequence.SerializeToString())


def noted(record: bytes, **features: list[int] | list[float] | list[bytes]) -> bytes:
    """A record with other features in its context."""
    sequence = messages().sequence.FromString(record)
    for name, values in features.items():
        feature = sequence.context.feature[name]
        feature.Clear()
        kinds = {int: feature.int64_list, float: feature.float_list, bytes: feature.bytes_list}
        kinds[type(values[0])].value.extend(values)
    return bytes(sequence.SerializeToString())


NAN = [float("nan"), *[0.0] * 1023]


@pytest.mark.parametrize(
    ("record", "form", "reason"),
    [
        (b"", Form(FRAME), "its 'id' is missing"),
        (b"\x00\x01\x02", Form(FRAME), "neither an Example nor a SequenceExample"),
        (without(FRAMES[0], "id"), Form(FRAME), "its 'id' is missing"),
        (without(FRAMES[0], AUDIO), Form(FRAME), "'audio' is missing; it has id, labels, rgb; --no-audio does without"),
        (without(FRAMES[0], RGB), Form(FRAME), "'rgb' is missing"),
        (without(MEANS[0], MEAN_AUDIO), Form(VIDEO), "'mean_audio' is missing; it has id, labels, mean_rgb"),
        (MEANS[0], Form(FRAME), "'rgb' is missing; it has id, labels, mean_audio, mean_rgb"),
        (FRAMES[0], Form(VIDEO), "'mean_rgb' is missing"),
        (ragged([1024, 1023]), Form(FRAME), "frame 1 of 'rgb' has 1023 bytes instead of 1024"),
        (ragged([128] * 3), Form(FRAME), "frame 0 of 'rgb' has 128 bytes"),
        (noted(FRAMES[0], labels=[70_000]), Form(FRAME), "the label 70000 is not in"),
        (noted(FRAMES[0], labels=[-1]), Form(FRAME), "the label -1 is not in"),
        (noted(FRAMES[0], labels=[1.5]), Form(FRAME), "no whole numbers"),
        (noted(FRAMES[0], id=[b"a", b"b"]), Form(FRAME), "2 values of bytes"),
        (noted(FRAMES[0], id=[b"\xff\xfe"]), Form(FRAME), "its id is no text"),
        (noted(MEANS[0], mean_rgb=[0.5] * 1000), Form(VIDEO), "'mean_rgb' has 1000 numbers instead of 1024"),
        (noted(MEANS[0], mean_rgb=NAN), Form(VIDEO), "holds what is no number"),
    ],
)
def test_what_is_wrong_is_said(record: bytes, form: Form, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parse(record, form)


def test_frames_of_the_two_kinds_must_be_as_many() -> None:
    sequence = messages().sequence.FromString(FRAMES[0])
    del sequence.feature_lists.feature_list[AUDIO].feature[-1]
    with pytest.raises(DataError, match="frames of 'rgb' but"):
        parse(bytes(sequence.SerializeToString()), Form(FRAME))


def test_a_video_without_frames_is_a_problem_and_one_of_one_frame_is_none() -> None:
    empty = Video("abcd", [1], np.empty((0, 1024), np.uint8), np.empty((0, 128), np.uint8))
    sequence = messages().sequence.FromString(to_record(empty))
    for name in (RGB, AUDIO):
        sequence.feature_lists.feature_list[name].SetInParent()
    for record in (to_record(empty), bytes(sequence.SerializeToString())):
        with pytest.raises(DataError, match=r"no frames|'rgb' is missing"):
            parse(record, Form(FRAME))
    (one,) = made_videos(1, 3, frames=(1, 1))
    assert parse(to_record(one), Form(FRAME)).features[RGB].shape == (1, 1024)


def test_sound_is_only_missed_where_it_is_wanted() -> None:
    assert set(parse(without(FRAMES[0], AUDIO), Form(FRAME, audio=False)).features) == {RGB}
    assert set(parse(FRAMES[0], Form(FRAME, audio=False)).features) == {RGB}
    assert set(parse(without(MEANS[0], MEAN_AUDIO), Form(VIDEO, audio=False)).features) == {MEAN_RGB}


def test_shards_without_labels_are_read() -> None:
    video = parse(without(FRAMES[0], "labels"), Form(FRAME))
    assert video.labels.tolist() == []
    assert video.labels.dtype == np.uint16


def test_labels_are_sorted_and_each_is_there_once() -> None:
    record = noted(FRAMES[0], labels=[300, 7, 65_535, 7, 0])
    assert parse(record, Form(FRAME)).labels.tolist() == [0, 7, 300, 65_535]


def test_what_others_add_is_read_by_protobuf() -> None:
    """The shards of 2019 have labels of segments beside those of the video; the first shards call the id video_id."""
    record = noted(FRAMES[0], segment_labels=[3, 4], segment_scores=[0.5, 1.0])
    with pytest.raises(Unusual):
        read(record)
    assert parse(record, Form(FRAME)).key == parse(FRAMES[0], Form(FRAME)).key
    old = noted(without(FRAMES[0], "id"), video_id=[b"wxyz"])
    assert parse(old, Form(FRAME)).key == "wxyz"


def test_what_protobuf_would_blow_up_is_not_given_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "_MOST_UNUSUAL_BYTES", 1000)
    with pytest.raises(DataError, match="are not those of a video"):
        parse(b"\x00" * 1001, Form(FRAME))


def test_levels_are_seen_in_a_record() -> None:
    assert level_of(FRAMES[0]) == FRAME
    assert level_of(MEANS[0]) == VIDEO
    with pytest.raises(DataError, match="neither 'rgb' nor 'mean_rgb', but id, labels"):
        level_of(without(without(FRAMES[0], RGB), AUDIO))


def test_the_id_is_seen_at_the_front_or_not_at_all() -> None:
    for record in FRAMES:
        assert key_at_front(record[:1024]) == key_of(record)
    assert key_at_front(FRAMES[0][:20]) is None
    assert key_at_front(b"\xff" * 50) is None


def test_made_records_are_valid_and_the_same_each_time() -> None:
    for record, message in ((FRAMES[0], messages().sequence), (MEANS[0], messages().example)):
        with pytest.raises(DecodeError):
            message.FromString(record[:-1])
        assert message.FromString(record).SerializeToString(deterministic=True) == record
    first, again = made_means(1, 5)[0], made_means(1, 5)[0]
    assert isinstance(first, Means)
    assert to_record(first) == to_record(again)
