"""What is shown of a run, of an evaluation and of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from echelon.api import Run
from echelon.cli.console import OUT, say
from echelon.data.manifest import open_dataset
from echelon.data.storage import open_storage
from echelon.errors import EchelonError
from echelon.inference import Evaluation
from echelon.recipes.recipe import Recipe
from echelon.report.recorded import read_run
from echelon.report.tables import evaluation_table, final_table
from echelon.train.evaluate import evaluation_split
from echelon.train.features import Layer
from echelon.train.run import REPORT

if TYPE_CHECKING:
    from echelon.report.page import Sample

SAMPLES = 24


def show_run(run: Run, recipe: Recipe | None) -> None:
    """The table of a run that is over, and its page beside it if what draws it is installed."""
    OUT.print(final_table(read_run(run.url)))
    try:
        say(f"report: {write_report(run, recipe)}")
    except EchelonError as error:
        say(f"no report was written: {error}")


def show_evaluation(evaluation: Evaluation) -> None:
    """Each metric beside what the trivial predictor reaches."""
    title = f"{evaluation.split} ({evaluation.rows:,} rows)"
    OUT.print(evaluation_table(evaluation.metrics, evaluation.baseline, split=title))


def show_layers(layers: Sequence[Layer]) -> None:
    """The layers of a model, with the shape of one row's output or why it has none that could be a column."""
    table = Table(box=None, pad_edge=False)
    for heading in ("layer", "kind", "output of a row"):
        table.add_column(heading)
    for layer in layers:
        shape = "a number" if layer.shape == () else " × ".join(map(str, layer.shape or ()))
        table.add_row(
            escape(layer.name), escape(layer.kind), f"[dim]{escape(layer.fault)}[/]" if layer.fault else shape
        )
    OUT.print(table)
    say("choose one with --layer")


def write_report(run: Run, recipe: Recipe | None, to: str | None = None) -> str:
    """Writes the page of a run, by default as report.html in its folder; where it is.

    Raises:
        EchelonError: matplotlib or jinja2 is not installed, or the page cannot be written.
    """
    from echelon.report.page import run_page
    from echelon.report.render import write_page

    target = to or open_storage(run.url).url_of(REPORT)
    write_page(run_page(read_run(run.url), _samples(run, recipe)), target)
    return target


def _samples(run: Run, recipe: Recipe | None) -> list[Sample]:
    """Some predictions; none, and why, if the model or the dataset cannot be had any more."""
    if recipe is None:
        return []
    try:
        dataset = open_dataset(run.asked["dataset"]["url"])
        split = evaluation_split(dataset, run.asked["config"].get("eval_split"))
        return recipe.samples(run.learner, run.model(), dataset, split or dataset.splits[0], SAMPLES)
    except EchelonError as error:
        say(f"the report has no sample predictions: {error}")
        return []
