"""The weights that a user asks for, from wherever they are, as the vector that a network is made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echelon.errors import DataError
from echelon.recipes.pets.networks.choice import NETWORKS, random_weights
from echelon.recipes.pets.networks.files import read_tensors
from echelon.recipes.pets.networks.layouts import brought
from echelon.recipes.pets.networks.published import PUBLISHED, fetched

AUTO, RANDOM = "auto", "random"


def weights_of(model: str, source: str = AUTO, scaling: str | None = None) -> NDArray[np.float32]:
    """The weights of a network, see `choice.network_of`.

    Args:
        source: path or URL of a file, "auto" for the public ones, or "random". scaling: see `layouts.brought`.

    Raises:
        DataError: the file is missing, cut off, or holds no weights of this network. EchelonError: they cannot be
        downloaded.
    """
    if source == RANDOM:
        return random_weights(model)
    url = str(fetched(PUBLISHED[NETWORKS[model].weights])) if source == AUTO else source
    tensors = read_tensors(url)
    try:
        return brought(model, tensors, scaling)
    except DataError as error:
        raise DataError(f"the weights {url} cannot be used: {error}") from None
