"""Public weights from a real server."""

from __future__ import annotations

import numpy as np
import pytest
from web import Site, digest_of

from echelon.download.file import File
from echelon.errors import DataError
from echelon.recipes.pets.networks.choice import shapes_of
from echelon.recipes.pets.networks.published import PUBLISHED, weights_folder
from echelon.recipes.pets.networks.weights import weights_of


@pytest.fixture
def published(site: Site, tmp_path, monkeypatch) -> bytes:
    """The weights of SqueezeNet on a server of the test's own, as npz with the names of Caffe."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    arrays = {}
    layers = ["conv1", *(f"fire{n}/{part}" for n in range(2, 10) for part in ("squeeze1x1", "expand1x1", "expand3x3"))]
    shapes = [shape for name, shape in shapes_of("squeezenet").items() if name.startswith("features")]
    for layer, kernel, bias in zip(layers, shapes[::2], shapes[1::2], strict=True):
        arrays |= {f"{layer}/w": random.standard_normal(kernel, np.float32)}
        arrays |= {f"{layer}/b": random.standard_normal(bias, np.float32)}
    np.savez(tmp_path / "weights.npz", **arrays)
    content = (tmp_path / "weights.npz").read_bytes()
    site.files["/weights.npz"] = content
    file = File(f"{site.url}/weights.npz", "weights.npz", size=len(content), digest=digest_of(content))
    monkeypatch.setitem(PUBLISHED, "squeezenet", file)
    return content


def test_public_weights_are_fetched_once_checked_and_kept(published, site):
    first = weights_of("squeezenet", "auto")
    assert (weights_folder() / "weights.npz").read_bytes() == published
    assert (weights_of("squeezenet", "auto") == first).all()
    assert len(site.asked) == 1
    assert (weights_of("squeezenet", str(weights_folder() / "weights.npz")) == first).all()
    assert first.size == sum(int(np.prod(shape)) for shape in shapes_of("squeezenet").values())


def test_what_was_cut_off_is_fetched_on(published, site):
    site.cut_after, site.cuts = len(published) // 2, 1
    weights_of("squeezenet", "auto")
    assert len(site.asked) == 2
    assert (weights_folder() / "weights.npz").read_bytes() == published


def test_other_bytes_than_the_published_ones_are_never_used(published, site):
    site.files["/weights.npz"] = published[:-1] + bytes([published[-1] ^ 1])
    with pytest.raises(DataError, match="not the published file, its sha256"):
        weights_of("squeezenet", "auto")
    assert not (weights_folder() / "weights.npz").exists()


def test_the_published_files_are_known_to_the_last_byte():
    for file in PUBLISHED.values():
        assert file.url.startswith("https://")
        assert file.size
        assert file.digest.startswith("sha256:")
