"""What makes features of images: a network, and where its numbers are."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echelon.data.storage import open_storage
from echelon.errors import DataError
from echelon.recipes.pets.networks.choice import network_of
from echelon.recipes.pets.networks.network import Network

_LONGEST_HEADER = 1024


def digest_of(weights: NDArray[np.float32]) -> str:
    """What tells the numbers of a network from others: BLAKE2b of them, little endian, in hexadecimal; every worker
    computes it, and of SHA-256 the half a gigabyte of VGG16 takes seconds.
    """
    return hashlib.blake2b(np.ascontiguousarray(weights, "<f4").data, digest_size=32).hexdigest()


@dataclass(frozen=True)
class Extractor:
    """A network that makes features, known by where its numbers are; small enough to be stored and sent. Two that have
    the same numbers are equal, wherever these are.

    model: as in `NETWORKS`. folder: URL of a dataset or a run. path: of a .npy file within, see `network_of`.
    digest: of the numbers, see `digest_of`. mirrored: see `Network`.
    """

    model: str
    folder: str = field(compare=False)
    path: str = field(compare=False)
    digest: str
    mirrored: bool = False

    def weights(self) -> NDArray[np.float32]:
        """The numbers, float32 [parameters], which processes of a host share where they are on its disk.

        Raises:
            DataError: the file is missing, or its numbers are others.
        """
        storage = open_storage(self.folder)
        try:
            weights = _vector(storage.mapped(self.path))
        except (FileNotFoundError, ValueError) as error:
            raise DataError(
                f"the weights of {self.model} cannot be read, {storage.url_of(self.path)}: {error}. Prepare the "
                "dataset again"
            ) from None
        if digest_of(weights) != self.digest:
            raise DataError(f"the weights of {self.model} at {storage.url_of(self.path)} are not those of the features")
        return weights

    def network(self, precision: str = "fp32") -> Network:
        """The network, on the CPU. precision: fp32 or bf16.

        Raises:
            DataError: as `weights`.
        """
        return network_of(self.model, self.weights(), precision, self.mirrored)


def _vector(content: pa.Buffer) -> NDArray[np.float32]:
    """The vector in a .npy file, without a copy.

    Raises:
        ValueError: it is none.
    """
    header = io.BytesIO(content[: min(_LONGEST_HEADER, len(content))].to_pybytes())
    version = np.lib.format.read_magic(header)
    if version != (1, 0):
        raise ValueError(f"it is a .npy file of version {version}, not (1, 0)")
    shape, _, dtype = np.lib.format.read_array_header_1_0(header)
    if dtype != np.dtype("<f4") or len(shape) != 1:
        raise ValueError(f"it holds {dtype} of the shape {list(shape)}, not a vector of float32")
    return np.frombuffer(content, dtype, shape[0], header.tell())
