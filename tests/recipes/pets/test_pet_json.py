"""Features as JSON arrays."""

from __future__ import annotations

import json

import numpy as np
import pytest

from echelon.errors import DataError
from echelon.recipes.pets.json_rows import from_json, json_path, to_json


def test_every_number_is_read_as_it_was_written_and_no_longer_than_needed():
    random = np.random.default_rng(0)
    bits = random.integers(0, 2**32, 5000, dtype=np.uint32).view(np.float32)
    extremes = [0.1, 1 / 3, 1e-45, 3.4028235e38, -0.0, 0.0]
    features = np.concatenate([bits[np.isfinite(bits)], np.array(extremes, np.float32)])
    content = to_json(features)
    assert (from_json(content).view(np.uint32) == features.view(np.uint32)).all()
    assert len(json.loads(content)) == len(features)
    assert to_json(np.array([0.1, 2.0], np.float32)) == b"[0.1,2.0]"


def test_what_json_does_not_have_is_not_written():
    with pytest.raises(ValueError, match="not finite"):
        to_json(np.array([1, np.inf], np.float32))


@pytest.mark.parametrize(
    "content",
    [b"", b"[1, 2", b"{}", b"[]", b"[[1, 2]]", b'["1", "2"]', b"[true, 1]", b"[null, 1]", b"[1e99]", b"[NaN]", b"3"],
)
def test_other_json_is_refused(content):
    with pytest.raises(DataError):
        from_json(content)


@pytest.mark.parametrize(
    ("key", "path"),
    [("a/Boxer_1.jpg", "a/Boxer_1.json"), ("Boxer_1.x.png", "Boxer_1.x.json"), ("a.b/Boxer", "a.b/Boxer.json")],
)
def test_a_json_file_is_called_as_its_image(key, path):
    assert json_path(key) == path
