"""What is shown of a run, of an evaluation and of several runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from echelon.api import Run
from echelon.cli.console import OUT, say
from echelon.data.manifest import open_dataset
from echelon.data.storage import open_storage
from echelon.errors import EchelonError
from echelon.inference import Evaluation
from echelon.recipes.recipe import Recipe, Shown
from echelon.report.recorded import RecordedRun, read_run
from echelon.report.tables import evaluation_table, exhibit_table, final_table
from echelon.train.evaluate import evaluation_split
from echelon.train.features import Layer
from echelon.train.run import REPORT, RunFolder
from echelon.train.sampled import Sampled

if TYPE_CHECKING:
    from echelon.report.exhibits import Exhibit


def show_run(run: Run, recipe: Recipe | None) -> None:
    """The table of a run that is over, and its page beside it if what draws it is installed."""
    recorded = read_run(run.url)
    OUT.print(final_table(recorded))
    if recipe is not None and (told := recipe.trained(RunFolder(run.url), run.learner, recorded.history.arrays)):
        say(told)
    try:
        say(f"report: {write_report(run, recipe)}")
    except EchelonError as error:
        say(f"no report was written: {error}")


def show_evaluation(evaluation: Evaluation, exhibits: Iterable[Exhibit] = ()) -> None:
    """Each metric beside what the trivial predictor reaches, and those exhibits that are tables."""
    title = f"{evaluation.split} ({evaluation.rows:,} rows)"
    OUT.print(evaluation_table(evaluation.metrics, evaluation.baseline, split=title))
    for exhibit in exhibits:
        if (table := exhibit_table(exhibit)) is not None:
            OUT.print(table)


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
    recorded = read_run(run.url)
    write_page(run_page(recorded, _exhibits(run, recipe, recorded)), target)
    return target


def _exhibits(run: Run, recipe: Recipe | None, recorded: RecordedRun) -> list[Exhibit]:
    """What the recipe shows of the run; what it cannot show is told."""
    if recipe is None:
        return []
    try:
        storage, made = RunFolder(run.url).storage, recorded.history.samples
        samples = [Sampled(storage, path, step) for step, path in sorted(made.items())]
        shown = recipe.samples(run.learner, samples) if samples else ()
        return [*shown, *recipe.exhibits(run.learner, recorded.history.arrays, _shown(run))]
    except EchelonError as error:
        say(f"the report shows nothing of the recipe's own: {error}")
        return []


def _shown(run: Run) -> Shown | None:
    """The model and what it was evaluated on; None, and why, if they cannot be had any more."""
    try:
        dataset = open_dataset(run.asked["dataset"]["url"])
        split = evaluation_split(dataset, run.asked["config"].get("eval_split"))
        return Shown(run.model(), dataset, split or dataset.splits[0])
    except EchelonError as error:
        say(f"the report has no sample predictions: {error}")
        return None
