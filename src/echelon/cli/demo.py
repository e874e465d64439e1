"""A recipe from raw files to predictions, with everything that a newcomer should see once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echelon.cli.console import ERR, OUT, describe, say
from echelon.errors import EchelonError
from echelon.recipes import find_recipe

if TYPE_CHECKING:
    from echelon.api import Run
    from echelon.data.manifest import Dataset
    from echelon.recipes.recipe import Demo, Recipe
    from echelon.sync.protocol import Strategy

WORKERS = 2


def demo(
    recipe: Annotated[str, typer.Argument(help="a recipe", metavar="[RECIPE]")] = "images",
    folder: Annotated[Path, typer.Option(help="new folder for all that the demo writes")] = Path("echelon-demo"),
) -> None:
    """Takes a small set from raw files to predictions: prepare, train twice, evaluate, predict, compare."""
    from echelon.cli.reporting import show_evaluation
    from echelon.data.manifest import open_dataset
    from echelon.report.compare import compare_runs, compare_table
    from echelon.report.compare_page import compare_page
    from echelon.report.render import write_page
    from echelon.spark.session import session
    from echelon.sync.allreduce import AllReduce
    from echelon.sync.averaging import Averaging

    if folder.exists():
        raise EchelonError(f"{folder} exists already: remove it, or give another --folder")
    chosen = find_recipe(recipe)
    trial = chosen.demo
    if trial is None:
        raise EchelonError(f"the recipe {recipe} has no demo: begin with `echelon {recipe} prepare`")
    _title("1  Raw files")
    say(f"{folder / 'raw'}: {trial.write(folder / 'raw')}")
    _title("2  Prepare them with Spark")
    spark = session(workers=WORKERS)
    dataset = chosen.prepare(
        spark, str(folder / "raw"), str(folder / "dataset"), trial.prepare, fitting=None, overwrite=False
    )
    say(describe(dataset))
    runs = []
    for number, strategy in ((3, AllReduce()), (4, Averaging(sync_every=10))):
        _title(f"{number}  Train with {strategy} on {WORKERS} workers")
        home = folder / "runs" / type(strategy).__name__.lower()
        runs.append(_train(recipe, chosen, trial, dataset, strategy, home))
    _title("5  Evaluate and predict, with the second model")
    trained_on = open_dataset(runs[-1].asked["dataset"]["url"])
    evaluation = runs[-1].evaluate(trained_on, workers=WORKERS)
    show_evaluation(evaluation, chosen.exhibits(runs[-1].learner, evaluation.arrays, None))
    predicted = runs[-1].predict(trained_on, folder / "predictions", workers=WORKERS)
    say(describe(predicted))
    if told := chosen.predicted(runs[-1].learner, predicted):
        say(told)
    _title("6  Compare")
    comparison = compare_runs([run.url for run in runs])
    OUT.print(compare_table(comparison))
    write_page(compare_page(comparison), folder / "compare.html")
    say("\nOpen these in a browser:")
    for page in (*(f"{run.url}/report.html" for run in runs), (folder / "compare.html").resolve()):
        say(f"  {page}")


def _train(name: str, recipe: Recipe, trial: Demo, dataset: Dataset, strategy: Strategy, folder: Path) -> Run:
    from echelon.api import fit
    from echelon.cli.reporting import show_run
    from echelon.report.progress import LiveProgress
    from echelon.train.config import RunConfig

    advised = {k: v for k, v in recipe.defaults(trial.train).items() if k != "sync_every"}
    config = RunConfig(**{**advised, **trial.config}).resolved(WORKERS)
    learner = recipe.learner(dataset, trial.train, config)
    with LiveProgress(ERR) as progress:
        run = fit(
            learner,
            recipe.data(dataset, trial.train),
            config,
            strategy=strategy,
            workers=WORKERS,
            run=folder,
            recipe=name,
            on_event=progress,
        )
    show_run(run, recipe)
    return run


def _title(text: str) -> None:
    ERR.print(f"\n[bold cyan]{text}[/]")
