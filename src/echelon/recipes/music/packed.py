"""The weights of a `WaveNet` in the order and the form in which the kernel reads them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echelon.errors import EchelonError
from echelon.recipes.music.drafting import DRAFT
from echelon.recipes.music.eight_bits import AVAILABLE, pack_bytes
from echelon.recipes.music.kernel import BLOCK
from echelon.recipes.music.lanes import CACHE_LINE, LANES, PANEL
from echelon.recipes.music.wavenet import Block, WaveNet

Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Floats = NDArray[np.float32]
Array = TypeVar("Array", bound=NDArray[Any])
Stored = NDArray[np.float32] | NDArray[np.uint32]
"""Weights as they are, or two of bfloat16 in a word."""


class Weights(NamedTuple):
    """A `WaveNet` as the kernel reads it. Channels are filled up with zeros to whole vectors, outputs to whole panels.

    embedding: [classes, width], the residual channels. stream: panels of, for each layer, the later tap of the gate
    and the projections to the head and to the next layer; then of the head. past: panels of the earlier taps.
    gate_bias: [layers, gates]. residual_bias: [layers, width]. skip_bias: of all layers together, [skips]. mix_bias:
    [mixed]. out_bias: [outputs]. dilations: of each layer, powers of 2. residual, skip: channels that are not zeros.
    rough, rough_past: stream and past rounded to 8 bits, see `eight_bits`; of no length where the processor cannot,
    and for bfloat16, as fast without.
    """

    embedding: Floats
    stream: Stored
    past: Stored
    gate_bias: Floats
    residual_bias: Floats
    skip_bias: Floats
    mix_bias: Floats
    out_bias: Floats
    dilations: NDArray[np.int64]
    residual: int
    skip: int
    rough: NDArray[np.uint32]
    rough_past: NDArray[np.uint32]


class Memory(NamedTuple):
    """What is remembered of a group of songs, and where sums are made.

    rings: the inputs of each layer over its dilation, [sum of dilations, songs, width]. pending: what the earlier taps
    give for the codes to come, [layers, BLOCK, songs, gates]. running: sums for the head, then the input of the next
    layer, [songs, skips + width]. gated, hidden, mixed: what goes into products. logits: of the code to come, [songs,
    outputs]. scratch: [classes]. dilations, starts: of each layer, and where its ring begins. time: codes that were fed
    since the rings were filled, [1].
    """

    rings: Floats
    pending: Floats
    running: Floats
    gated: Floats
    hidden: Floats
    mixed: Floats
    logits: Floats
    scratch: Floats
    dilations: NDArray[np.int64]
    starts: NDArray[np.int64]
    time: NDArray[np.int64]


class Places(NamedTuple):
    """Where the arrays of `Weights` and `Memory` with the same names lie, as addresses; they must outlive it. And how
    large they are, in numbers: both is of a row of running, mixes of mixed.
    """

    embedding: int
    stream: int
    past: int
    gate_bias: int
    residual_bias: int
    skip_bias: int
    mix_bias: int
    out_bias: int
    rings: int
    pending: int
    running: int
    gated: int
    hidden: int
    mixed: int
    logits: int
    songs: int
    layers: int
    classes: int
    residual: int
    width: int
    gates: int
    skip: int
    skips: int
    both: int
    mixes: int
    outputs: int
    is_halved: bool


def pack(model: WaveNet, precision: Precision) -> Weights:
    """
    Args:
        precision: how the matrices are stored; sums, biases and the embedding are float32 in any case.

    Raises:
        EchelonError: a weight is not finite.
    """
    _check_finite(model)
    blocks = [block for block in model.blocks if isinstance(block, Block)]
    residual, skip = model.embed.embedding_dim, model.mix.in_channels
    width, skips = _up(residual, LANES), _up(skip, LANES)
    later, earlier = [], []
    for block in blocks:
        gate = _halved(_array(block.gate.weight), width)
        earlier.append(gate[:, :, 0])
        later.append(gate[:, :, 1])
        projections = [_filled(_matrix(block.skip), skips)]
        if block.residual is not None:
            projections.append(_filled(_matrix(block.residual), width))
        later.append(np.concatenate(projections))
    later += [_matrix(model.mix), _matrix(model.out)]
    dilations = np.array([block.dilation for block in blocks], np.int64)
    assert not (dilations & (dilations - 1)).any(), "the kernel takes dilations that are powers of 2"
    none = np.zeros(residual, np.float32)
    return Weights(
        embedding=_filled(_array(model.embed.weight).T, width).T.copy(),
        stream=_stream(later, precision),
        past=_stream(earlier, precision),
        gate_bias=np.stack([_filled(_halved(_array(block.gate.bias), width), PANEL) for block in blocks]),
        residual_bias=np.stack(
            [_filled(none if block.residual is None else _array(block.residual.bias), width) for block in blocks]
        ),
        skip_bias=_filled(np.sum([_array(block.skip.bias) for block in blocks], axis=0, dtype=np.float32), skips),
        mix_bias=_filled(_array(model.mix.bias), PANEL),
        out_bias=_filled(_array(model.out.bias), PANEL),
        dilations=dilations,
        residual=residual,
        skip=skip,
        rough=_rough(later, precision),
        rough_past=_rough(earlier, precision),
    )


def remember(weights: Weights, songs: int) -> Memory:
    """What is remembered of songs of which nothing was heard yet."""
    layers, gates = weights.gate_bias.shape
    width, skips = weights.embedding.shape[1], len(weights.skip_bias)

    def zeros(*shape: int) -> Floats:
        return at_line(np.zeros(shape, np.float32))

    return Memory(
        rings=zeros(int(weights.dilations.sum()), songs, width),
        pending=zeros(layers, BLOCK, songs, gates),
        running=zeros(songs, _up(skips + width, PANEL)),
        gated=zeros(songs, width),
        hidden=zeros(songs, skips),
        mixed=zeros(songs, len(weights.mix_bias)),
        logits=zeros(songs, len(weights.out_bias)),
        scratch=zeros(_up(len(weights.embedding), LANES)),
        dilations=weights.dilations,
        starts=np.concatenate([[0], np.cumsum(weights.dilations)[:-1]]),
        time=np.zeros(1, np.int64),
    )


def remember_ahead(weights: Weights) -> Memory:
    """What `drafting` remembers of one song: of `DRAFT` codes what is remembered of songs, in rings that are as much
    longer.
    """
    layers, gates = weights.gate_bias.shape
    sizes = weights.dilations + DRAFT
    return remember(weights, DRAFT)._replace(
        rings=at_line(np.zeros((int(sizes.sum()), 1, weights.embedding.shape[1]), np.float32)),
        pending=at_line(np.zeros((layers, DRAFT, 1, gates), np.float32)),
        starts=np.concatenate([[0], np.cumsum(sizes)[:-1]]),
    )


def places_of(weights: Weights, memory: Memory) -> Places:
    """Where the kernel finds all of it."""
    arrays = {**weights._asdict(), **memory._asdict()}
    sizes = {
        "songs": len(memory.running),
        "layers": len(weights.dilations),
        "classes": len(weights.embedding),
        "residual": weights.residual,
        "width": memory.gated.shape[1],
        "gates": memory.pending.shape[3],
        "skip": weights.skip,
        "skips": memory.hidden.shape[1],
        "both": memory.running.shape[1],
        "mixes": memory.mixed.shape[1],
        "outputs": memory.logits.shape[1],
        "is_halved": weights.stream.dtype == np.uint32,
    }
    return Places(**{name: sizes[name] if name in sizes else arrays[name].ctypes.data for name in Places._fields})


def places_of_draft(weights: Weights, memory: Memory) -> Places:
    """Where `drafting` finds what it guesses with. memory: of one song."""
    places = places_of(weights, memory)
    return places._replace(stream=weights.rough.ctypes.data, past=weights.rough_past.ctypes.data)


def at_line(array: Array) -> Array:
    """A copy that begins where a line of the caches does: a vector that lies in two lines takes two to read."""
    space = np.empty(array.nbytes + CACHE_LINE, np.uint8)
    begin = -space.ctypes.data % CACHE_LINE
    lined: Array = space[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)  # type: ignore[assignment]
    lined[...] = array
    return lined


def _stream(matrices: list[Floats], precision: Precision) -> Stored:
    """Matrices [outputs, inputs] one after another, each as panels [inputs, PANEL]."""
    panels = [
        np.ascontiguousarray(matrix[first : first + PANEL].T).reshape(-1, PANEL)
        for matrix in (_filled(matrix, PANEL) for matrix in matrices)
        for first in range(0, len(matrix), PANEL)
    ]
    lines = np.concatenate(panels)
    if precision == "fp32":
        return at_line(lines.reshape(-1))
    # A word holds a number of each of two neighbouring vectors.
    halves = _bfloat16(lines).reshape(len(lines), -1, 2, LANES)
    return at_line((halves[:, :, 0] | halves[:, :, 1] << np.uint32(16)).reshape(-1))


def _rough(matrices: list[Floats], precision: Precision) -> NDArray[np.uint32]:
    if precision != "fp32" or not AVAILABLE:
        return np.empty(0, np.uint32)
    return at_line(pack_bytes([_filled(_filled(matrix, PANEL).T, LANES).T for matrix in matrices]))


def _bfloat16(values: Floats) -> np.ndarray:
    """The upper halves of float32 numbers, rounded to the nearest, uint32."""
    rounded = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy()
    return rounded.view(np.uint16).astype(np.uint32)


def _halved(gate: Floats, width: int) -> Floats:
    """The channels of a gate with each half filled up to the width."""
    return np.concatenate([_filled(half, width) for half in np.split(gate, 2)])


def _filled(rows: Floats, multiple: int) -> Floats:
    """With rows of zeros behind, to a multiple."""
    return np.concatenate([rows, np.zeros((-len(rows) % multiple, *rows.shape[1:]), np.float32)])


def _up(number: int, multiple: int) -> int:
    return number + -number % multiple


def _matrix(convolution: nn.Conv1d) -> Floats:
    return _array(convolution.weight)[:, :, 0]


def _array(parameter: Tensor | None) -> Floats:
    assert parameter is not None
    return parameter.detach().float().cpu().numpy()


def _check_finite(model: WaveNet) -> None:
    wrong = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    if wrong:
        raise EchelonError(f"the weights {', '.join(wrong[:3])} are not finite numbers: the training has diverged")
