"""The command that shows test images with what a run says of them."""

from __future__ import annotations

from typing import Annotated

import typer

from echelon.data.manifest import open_dataset
from echelon.data.storage import open_storage
from echelon.errors import DataError, EchelonError
from echelon.recipes.pets.exhibits import looked_at
from echelon.recipes.pets.learner import SvmLearner
from echelon.report.exhibits import Gallery, Sample
from echelon.train.evaluate import evaluation_split
from echelon.train.run import RunFolder
from echelon.train.trained import load_trained

PAGE = "contact-sheet.html"


def contact_sheet(
    run: Annotated[str, typer.Argument(help="the folder of a run", metavar="RUN")],
    out: Annotated[str | None, typer.Option(help="HTML file to write, path or URL (default: in the run)")] = None,
    most: Annotated[int, typer.Option(help="most images to show, the first ones", min=1)] = 1000,
) -> str:
    """Writes a page of the test images of a run, by breed, with what is said of each."""
    from echelon.report.render import write_page
    from echelon.report.sheet import contact_sheet as page_of

    folder = RunFolder(run)
    learner = folder.learner
    if not isinstance(learner, SvmLearner):
        raise EchelonError(f"{run} is no run of the recipe pets, but of {type(learner).__name__}")
    dataset = open_dataset(folder.asked["dataset"]["url"])
    split = evaluation_split(dataset, folder.config.eval_split)
    if split is None:
        raise DataError(f"{run} has no test images: train with a --test-fraction above 0")
    rows = min(most, dataset.rows(split))
    samples = looked_at(learner, load_trained(folder, learner).model, dataset, split, rows)
    right = sum(bool(sample.correct) for sample in samples)
    labels = [f"{rows:,} of {dataset.rows(split):,} images of '{split}'", f"{right:,} right", f"{rows - right:,} wrong"]
    target = out or open_storage(run).url_of(PAGE)
    write_page(page_of(learner.problem.title, labels, _by_breed(samples)), target)
    return f"contact sheet: {target}"


def _by_breed(samples: list[Sample]) -> list[Gallery]:
    """A gallery for each true answer, the wrong ones first."""
    galleries = []
    for name in sorted({sample.fields["true"] for sample in samples}):
        its = sorted((sample for sample in samples if sample.fields["true"] == name), key=lambda s: bool(s.correct))
        right = sum(bool(sample.correct) for sample in its)
        galleries.append(Gallery(f"{name}: {right} of {len(its)} right", its))
    return galleries
