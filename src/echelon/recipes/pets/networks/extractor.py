"""What makes features of images: a network, and where its numbers are."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echelon.data.storage import open_storage
from echelon.errors import DataError
from echelon.recipes.pets.networks.choice import network_of
from echelon.recipes.pets.networks.network import Network


def digest_of(weights: NDArray[np.float32]) -> str:
    """What tells the numbers of a network from others: SHA-256 of them, little endian, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(weights, "<f4").data).hexdigest()


@dataclass(frozen=True)
class Extractor:
    """A network that makes features, known by where its numbers are; small enough to be stored and sent.

    model: as in `NETWORKS`. folder: URL of a dataset or a run. path: of a .npy file within, see `network_of`.
    digest: of the numbers, see `digest_of`.
    """

    model: str
    folder: str
    path: str
    digest: str

    def weights(self) -> NDArray[np.float32]:
        """The numbers, float32 [parameters].

        Raises:
            DataError: the file is missing, or its numbers are others.
        """
        storage = open_storage(self.folder)
        try:
            weights = np.load(io.BytesIO(storage.read(self.path)), allow_pickle=False)
        except (FileNotFoundError, ValueError) as error:
            raise DataError(
                f"the weights of {self.model} cannot be read, {storage.url_of(self.path)}: {error}. Prepare the "
                "dataset again"
            ) from None
        if digest_of(weights) != self.digest:
            raise DataError(f"the weights of {self.model} at {storage.url_of(self.path)} are not those of the features")
        return weights

    def network(self) -> Network:
        """The network, on the CPU.

        Raises:
            DataError: as `weights`.
        """
        return network_of(self.model, self.weights())
