"""The command that draws a learning curve."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import Progress

from echelon.data.manifest import open_dataset
from echelon.data.storage import open_storage
from echelon.errors import EchelonError
from echelon.recipes.pets.classifier import LinearClassifier
from echelon.recipes.pets.columns import ALL, described
from echelon.recipes.pets.cost import cost_option, fixed_cost
from echelon.recipes.pets.curve import learning_curve, least_trained, sizes_within
from echelon.recipes.pets.division import known_of
from echelon.recipes.pets.held import in_memory, with_bias
from echelon.recipes.pets.problem import EVERY, Problem
from echelon.recipes.pets.trial import Images
from echelon.train.config import option
from echelon.world import processors, threads


@dataclass(frozen=True)
class CurveOptions:
    """What is told apart, and the points of the curve."""

    breed: str | None = option(None, "the breed to tell from --against (default: every breed from all others)")
    against: str = option(EVERY, "another breed, or all")
    sizes: str | None = option(
        None, "training images of each breed, as 20,40,80 (default: 20 to 180, or what there is)"
    )
    seeds: int = option(5, "divisions of the images that are tried, with the seeds 0, 1, …")
    test_fraction: float = option(0.3, "part of the images of each breed to test on")
    cost: str = cost_option()
    normalise: bool = option(True, "scale the features of each image to the length 1")
    memory_mb: int = option(2048, "most memory for the images", least=1)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise EchelonError(f"--seeds must be at least 1, got {self.seeds}")
        if not 0 < self.test_fraction < 1:
            raise EchelonError(f"--test-fraction must be above 0 and below 1, got {self.test_fraction}")
        fixed_cost(self.cost)
        _ = self.wanted

    @property
    def wanted(self) -> tuple[int, ...]:
        """The sizes that were asked for; empty for the usual ones."""
        try:
            return tuple(int(size) for size in self.sizes.split(",")) if self.sizes else ()
        except ValueError:
            raise EchelonError(f"--sizes must be whole numbers, as 20,40,80, got {self.sizes!r}") from None


def curve(
    dataset: Annotated[str, typer.Argument(help="a dataset that prepare wrote (path or URL)", metavar="DATASET")],
    out: Annotated[str, typer.Argument(help="folder for the files (path or URL)", metavar="OUT")],
    options: CurveOptions,
) -> str:
    """Draws accuracy and balanced accuracy by the training images of each breed: PNG, PDF, CSV and JSON."""
    from echelon.recipes.pets.curve_files import write_curve

    opened = open_dataset(dataset)
    its = described(opened)
    problem, known = Problem(its.classes, options.breed, options.against), known_of(opened)
    otherwise = "prepare fewer images"
    features, labels = in_memory(opened, ALL, options.memory_mb, otherwise=otherwise)
    scaled = LinearClassifier(its.features, 1, options.normalise).scaled(torch.from_numpy(features))
    images = Images(with_bias(scaled), labels, known.keys)
    sizes = sizes_within(least_trained(images, problem, options.test_fraction), options.wanted)
    with threads(processors()), Progress(console=Console(stderr=True)) as bars:
        task = bars.add_task("trainings", total=len(sizes) * options.seeds)
        points = list(
            learning_curve(
                images,
                problem,
                sizes,
                range(options.seeds),
                test_fraction=options.test_fraction,
                cost=fixed_cost(options.cost),
                on_point=lambda: bars.advance(task),
            )
        )
    written = write_curve(open_storage(out), problem.title, points, {"dataset": opened.url, "options": asdict(options)})
    return "\n".join(written)
