"""runs, report and compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from echelon.cli.console import OUT, say
from echelon.errors import EchelonError
from echelon.recipes import find_recipe

if TYPE_CHECKING:
    from echelon.api import Run
    from echelon.recipes.recipe import Recipe


def runs(
    folder: Annotated[
        str, typer.Argument(help="folder whose runs are listed (path or URL)", metavar="[FOLDER]")
    ] = "runs",
) -> None:
    """Lists the runs in a folder."""
    from echelon.report.index import find_runs
    from echelon.report.tables import runs_table

    OUT.print(runs_table(find_runs(folder), folder))


def report(
    run: Annotated[str, typer.Argument(help="the folder of a run", metavar="RUN")],
    out: Annotated[str | None, typer.Option(help="HTML file to write, path or URL (default: in the run)")] = None,
) -> None:
    """Writes the page of a run, with its curves and some predictions."""
    from echelon.api import Run
    from echelon.cli.reporting import write_report

    trained = Run(run)
    say(f"report: {write_report(trained, _recipe_of(trained), out)}")


def _recipe_of(run: Run) -> Recipe | None:
    """The recipe that a run was made with; only its sample predictions need it."""
    name = run.asked.get("recipe")
    try:
        return find_recipe(name) if name else None
    except EchelonError as error:
        say(f"the report has no sample predictions: {error}")
        return None


def compare(
    run: Annotated[list[str], typer.Argument(help="folders of runs; those that differ by the seed alone are grouped")],
    metric: Annotated[str | None, typer.Option(help="metric to compare (default: what the runs are judged by)")] = None,
    target: Annotated[float | None, typer.Option(help="value whose cost in steps, seconds and bytes is shown")] = None,
    out: Annotated[str, typer.Option(help="HTML file to write (path or URL)")] = "compare.html",
) -> None:
    """Compares runs: a metric against steps, seconds and bytes."""
    from echelon.report.compare import compare_runs, compare_table
    from echelon.report.compare_page import compare_page
    from echelon.report.render import write_page

    comparison = compare_runs(run, metric=metric, target=target)
    OUT.print(compare_table(comparison))
    write_page(compare_page(comparison), out)
    say(f"report: {out}")
