"""Files of weights, in the formats in which they are published, as tensors by their names."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from echelon.data.files import files_at
from echelon.errors import DataError, EchelonError
from echelon.recipes.pets.networks.deep_compression import read_compressed

Tensors = Mapping[str, NDArray]
_HDF5, _ZIP, _PICKLE = b"\x89HDF\r\n\x1a\n", b"PK", b"\x80"
_SAFETENSORS_HEADER = 8
_WRAPPED = ("state_dict", "model_state_dict", "model")


def read_tensors(url: str) -> Tensors:
    """The tensors of a file, known by its content: HDF5 of Keras, safetensors, torch's (without any code), npz, or the
    compressed one of SqueezeNet's authors, which ends with .net.

    Raises:
        DataError: there is no such file, or it is none of these. StorageError: it cannot be read. EchelonError: h5py is
        not installed.
    """
    storage, entries = files_at(url)
    if len(entries) != 1:
        raise DataError(f"--weights {url} is {len(entries) or 'no'} files: give one file of weights")
    content = storage.read(entries[0].path)
    try:
        return _read(content, entries[0].path)
    except (UnpicklingError, SafetensorError, zipfile.BadZipFile, RuntimeError, OSError, ValueError, EOFError) as error:
        first = str(error).partition("\n")[0]
        raise DataError(f"the weights {url} cannot be read, the file may be cut off: {first}") from None
    except DataError as error:
        raise DataError(f"the weights {url} cannot be read: {error}") from None


def _read(content: bytes, path: str) -> Tensors:
    if content.startswith(_HDF5):
        return _of_keras(content)
    if content.startswith(_ZIP):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            is_npz = all(name.endswith(".npy") for name in archive.namelist())
        return _of_numpy(content) if is_npz else _of_torch(content)
    if content[_SAFETENSORS_HEADER : _SAFETENSORS_HEADER + 1] == b"{":
        return {name: _as_numpy(tensor) for name, tensor in safetensors.torch.load(content).items()}
    if content.startswith(_PICKLE):
        return _of_torch(content)
    if path.lower().endswith(".net"):
        return read_compressed(content)
    raise DataError("it is no .pth, .h5, .safetensors, .npz or .net")


def _of_numpy(content: bytes) -> Tensors:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _of_torch(content: bytes) -> Tensors:
    loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    for name in _WRAPPED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    if not isinstance(loaded, Mapping):
        raise DataError(f"it holds a {type(loaded).__name__}, not the state_dict of a network")
    return {str(name): _as_numpy(value) for name, value in loaded.items() if isinstance(value, Tensor)}


def _as_numpy(tensor: Tensor) -> NDArray:
    return tensor.detach().float().numpy()


def _of_keras(content: bytes) -> Tensors:
    """All arrays of an HDF5 file by their paths."""
    try:
        import h5py
    except ImportError:
        raise EchelonError("weights of Keras (.h5) need h5py: pip install 'echelon[hdf5]'") from None
    tensors: dict[str, NDArray] = {}

    def take(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset) and entry.shape and np.issubdtype(entry.dtype, np.floating):
            tensors[name] = entry[()]

    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(take)
    return tensors
