"""A site, and no proxy on the way to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from web import Site, served


@pytest.fixture
def content() -> bytes:
    """Three million random bytes, so that no two pieces are the same."""
    return np.random.default_rng(5).bytes(3_000_000)


@pytest.fixture
def site(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with served(data=content) as made:
        yield made
