"""The options of preparing pets; the command line makes its flags from these fields."""

from __future__ import annotations

from dataclasses import dataclass

from echelon.errors import EchelonError
from echelon.recipes.pets.networks.choice import NETWORKS
from echelon.recipes.pets.networks.extractor import Extractor
from echelon.recipes.pets.networks.weights import AUTO
from echelon.train.config import option
from echelon.train.precision import PRECISIONS

SCALINGS = (AUTO, "torchvision", "caffe")


@dataclass(frozen=True)
class PrepareOptions:
    """How images become features."""

    model: str = option(
        "vgg16",
        "network whose features are written: vgg16 (its fc2), squeezenet (v1.0, its fire9 on a 2x4 grid) or "
        "squeezenet-max (means and maxima of fire9)",
        metavar=f"<{'|'.join(NETWORKS)}>",
    )
    weights: str = option(
        AUTO,
        "file (path or URL) with the network's public weights: torchvision's .pth, Keras' .h5 (vgg16), .safetensors "
        "with the names of torchvision or timm, .npz or .net of Caffe's SqueezeNet; auto downloads them; random takes "
        "seeded random ones, for trials",
    )
    scaling: str = option(
        AUTO, "what the weights take pixels for: torchvision's normalised RGB or caffe's BGR; auto goes by their layout"
    )
    json: str | None = option(
        None, "folder (path or URL) for one JSON array of features for each image, beside the dataset"
    )
    convert: bool = option(
        False, "take images that are no RGB (grey, CMYK, palette, transparent) too, as RGB; else they are left out"
    )
    mirror: bool = option(
        True, "features are means of those of an image and of its mirror image: better ones, in twice the time"
    )
    precision: str = option("fp32", "fp32, or bf16, which is faster on processors and GPUs that have it")
    batch_size: int = option(16, "images of one forward pass", least=1)
    shuffle_seed: int = option(0, "seed of the order in which the rows are written")
    resume: bool = option(False, "keep the parts that an interrupted prepare of the same files and options has written")

    def __post_init__(self) -> None:
        for name, known in (("model", tuple(NETWORKS)), ("scaling", SCALINGS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise EchelonError(f"--{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name, least in (("batch_size", 1), ("shuffle_seed", 0)):
            if getattr(self, name) < least:
                flag = name.replace("_", "-")
                raise EchelonError(f"--{flag} must be at least {least}, got {getattr(self, name)}")
        if not self.weights:
            raise EchelonError("--weights is empty: give a file, auto or random")
        if self.json == "":
            raise EchelonError("--json is empty: give a folder, or leave it out")


@dataclass(frozen=True)
class Fitting:
    """What a trained model must be given: images prepared for it keep all this, whatever the options say.

    classes: the breeds in the order of the labels; images of others get the label -1. features: numbers of each image.
    extractor: what makes them; None for a model that was trained on features from JSON files, which takes only such.
    """

    classes: tuple[str, ...]
    features: int
    extractor: Extractor | None
