"""The options of the images recipe; the command line makes its flags from these fields."""

from __future__ import annotations

import re
from dataclasses import dataclass

from echelon.errors import EchelonError
from echelon.recipes.images.rows import Division
from echelon.train.config import option


@dataclass(frozen=True)
class PrepareOptions:
    """How a source becomes a dataset."""

    size: str = option("256x256", "width x height that decoded images are stretched to; CIFAR-10 stays 32x32")
    test_fraction: float = option(0.2, "part of the images to test on, where the source has no test part of its own")
    split_seed: int = option(0, "seed of that division, which goes by each image's name")
    shuffle_seed: int = option(0, "seed of the order in which the rows are written")
    resume: bool = option(False, "keep the parts that an interrupted prepare of the same source and options wrote")
    raw_channels: str = option(
        "bgr",
        "order of the channels of pixels that are not encoded in a Caffe LMDB: bgr, as its convert_imageset writes, "
        "or rgb, as its convert_cifar_data",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.test_fraction < 1:
            raise EchelonError(f"--test-fraction must be at least 0 and below 1, got {self.test_fraction}")
        if self.raw_channels not in ("bgr", "rgb"):
            raise EchelonError(f"--raw-channels must be bgr or rgb, got {self.raw_channels!r}")
        _ = self.height_width

    @property
    def height_width(self) -> tuple[int, int]:
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", self.size.strip().lower())
        if not match:
            raise EchelonError(f"--size must be width x height, for example 256x256, got {self.size!r}")
        return int(match[2]), int(match[1])

    @property
    def division(self) -> Division:
        return Division(self.test_fraction, self.split_seed)


@dataclass(frozen=True)
class ImagesOptions:
    """What is trained, and how.

    None stands for the value of the solver.
    """

    model: str | None = option(
        None, "quick (cifar10_quick of Caffe), resnet (small, with GroupNorm), caffenet, alexnet or googlenet"
    )
    width: int = option(32, "resnet: channels of the first stage; a power of two, or a multiple of 8")
    depth: int = option(1, "resnet: blocks in each of the three stages")
    solver: str | None = option(
        None, "settings: the name of a model, or that and -caffe for the original's (default: by model)"
    )
    optimizer: str | None = option(None, "sgd or adamw")
    lr: float | None = option(None, "learning rate at the peak of the schedule")
    momentum: float | None = option(None, "momentum of sgd")
    weight_decay: float | None = option(None, "L2 penalty of sgd, decoupled decay of adamw")
    schedule: str | None = option(None, "constant, step, poly, cosine or one-cycle")
    step_every: int | None = option(None, "steps until step takes a tenth, each time; 0: once, at 80 % of the training")
    warmup: float | None = option(None, "part of the steps in which the learning rate rises")
    label_smoothing: float | None = option(None, "part of each target that is spread over all classes")
    crop: int | None = option(
        None,
        "side of the square that the network sees, random in training, the centre in evaluation; 0: the whole image "
        "(default: 227 for caffenet and alexnet, 224 for googlenet, of larger images; else 0)",
    )
    pad: int | None = option(None, "pixels by which a crop in training may leave the image")
    mirror: bool | None = option(None, "mirror half of the images in training")

    def __post_init__(self) -> None:
        for name in ("width", "depth"):
            if getattr(self, name) < 1:
                raise EchelonError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.width > 8 and self.width % 8:
            raise EchelonError(f"--width must be at most 8 or a multiple of 8 for GroupNorm, got {self.width}")
        for name in ("crop", "pad", "step_every"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise EchelonError(f"--{name.replace('_', '-')} must not be negative, got {value}")
        for name, least, below in (("lr", 0, 1e6), ("momentum", 0, 1), ("warmup", 0, 1), ("label_smoothing", 0, 1),
                                   ("weight_decay", 0, 1e6)):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not least <= value < below:
                raise EchelonError(
                    f"--{name.replace('_', '-')} must be at least {least} and below {below:g}, got {value}"
                )
