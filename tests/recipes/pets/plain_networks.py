"""Forward passes in plain numpy, double precision, written from the papers and the layouts' own documents.

VGG16 is computed in the layout of Keras: images [rows, columns, channels], kernels [height, width, in, out], blue
first. SqueezeNet is computed in that of Caffe: images [channels, rows, columns], kernels [out, in, height, width],
blue first. Neither shares a line with what it checks.
"""

from __future__ import annotations

import numpy as np


def keras_vgg16(weights, pixels, mean):
    """The output of fc2.

    weights: by layer (kernel, bias). pixels: [rows, columns, 3] RGB. mean: of red, green and blue.
    """
    image = pixels[:, :, ::-1] - np.array(mean[::-1])
    for block, count in enumerate((2, 2, 3, 3, 3), 1):
        for number in range(1, count + 1):
            kernel, bias = weights[f"block{block}_conv{number}"]
            padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
            rows, columns, _ = image.shape
            image = np.maximum(
                bias + sum(padded[y : y + rows, x : x + columns] @ kernel[y, x] for y in range(3) for x in range(3)),
                0,
            )
        rows, columns, channels = image.shape
        image = image[: rows // 2 * 2, : columns // 2 * 2]
        image = image.reshape(rows // 2, 2, columns // 2, 2, channels).max(axis=(1, 3))
    dense = image.reshape(-1)
    for layer in ("fc1", "fc2"):
        kernel, bias = weights[layer]
        dense = np.maximum(dense @ kernel + bias, 0)
    return dense


def caffe_squeezenet(weights, pixels, mean, grid=(2, 4)):
    """weights: by layer (kernel, bias). pixels: [rows, columns, 3] RGB. Fire9 averaged over the cells of a grid."""
    image = (pixels - np.array(mean)).transpose(2, 0, 1)[::-1]
    image = _pooled(_convolved(image, *weights["conv1"], stride=2))
    for number in range(2, 10):
        image = _fire(image, weights, number)
        if number in (4, 8):
            image = _pooled(image)
    return np.concatenate([_averages(channel, grid) for channel in image])


def _fire(image, weights, number):
    squeezed = _convolved(image, *weights[f"fire{number}/squeeze1x1"])
    halves = (
        _convolved(squeezed, *weights[f"fire{number}/expand1x1"]),
        _convolved(np.pad(squeezed, ((0, 0), (1, 1), (1, 1))), *weights[f"fire{number}/expand3x3"]),
    )
    return np.concatenate(halves)


def _convolved(image, kernel, bias, stride=1):
    """With a ReLU. No padding."""
    height, width = kernel.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(image, (height, width), axis=(1, 2))[:, ::stride, ::stride]
    return np.maximum(np.einsum("crsyx,ocyx->ors", windows, kernel, optimize=True) + bias[:, None, None], 0)


def _pooled(image, size=3, stride=2):
    """Caffe's maximum: the last window may hang over the edge."""
    sides = [-(-(side - size) // stride) + 1 for side in image.shape[1:]]
    return np.array(
        [[image[:, r * stride : r * stride + size, c * stride : c * stride + size].max(axis=(1, 2))
          for c in range(sides[1])] for r in range(sides[0])]
    ).transpose(2, 0, 1)  # fmt: skip


def _averages(channel, grid):
    """Cells that together cover the plane, and share a line where it cannot be divided."""
    (rows, columns), (down, across) = channel.shape, grid
    return [
        channel[r * rows // down : -(-(r + 1) * rows // down), c * columns // across : -(-(c + 1) * columns // across)]
        .mean()
        for r in range(down)
        for c in range(across)
    ]  # fmt: skip
