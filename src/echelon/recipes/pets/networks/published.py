"""The public weights of the networks, fetched once into a folder of the user's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from echelon.download.fetch import fetch
from echelon.download.file import File
from echelon.download.progress import shown

_SQUEEZENET = "SqueezeNet-Deep-Compression/fb13faa2cf121ced9999f8a9d538ec6c56084733/compressed_SqueezeNet.net"
PUBLISHED: Mapping[str, File] = {
    "vgg16": File(
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "vgg16-397923af.pth",
        size=553_433_881,
        digest="sha256:397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    "squeezenet": File(
        f"https://raw.githubusercontent.com/songhan/{_SQUEEZENET}",
        "compressed_SqueezeNet.net",
        size=675_763,
        digest="sha256:e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261",
    ),
}
"""By torchvision (BSD 3-clause; trained on ImageNet), and by SqueezeNet's authors (BSD 2-clause)."""


def weights_folder() -> Path:
    """The folder that weights are kept in: echelon/weights in $XDG_CACHE_HOME, else in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "echelon" / "weights"


def fetched(file: File) -> Path:
    """The file on this disk; it is downloaded, with a bar, unless it is there already and whole.

    Raises:
        EchelonError: as `echelon.download.fetch.fetch`.
    """
    with shown() as show:
        return fetch(file, weights_folder(), on_progress=show)
