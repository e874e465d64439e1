"""prepare, train, evaluate, predict and features, for any recipe, and the commands of its own."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, get_type_hints

import typer

from echelon.cli.choices import PlaceOptions, StrategyOptions
from echelon.cli.console import ERR, describe, say
from echelon.cli.items import STANDARD_INPUT, are_items, predict_files, predict_items
from echelon.cli.options import Given, expanded
from echelon.cli.preparing import preparing
from echelon.cli.reporting import show_evaluation, show_layers, show_run
from echelon.cli.training import Order, train
from echelon.cli.verbs import as_verb, verb_name
from echelon.data.commit import check_free
from echelon.data.manifest import MANIFEST, Dataset, open_dataset
from echelon.data.storage import open_storage
from echelon.driver import Place
from echelon.errors import EchelonError
from echelon.inference import Forward, evaluate_run, features_run, layers_of_run, predict_run
from echelon.recipes.recipe import Recipe
from echelon.spark.session import session
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.run import RunFolder

DatasetArgument = Annotated[str, typer.Argument(help="a dataset that prepare wrote (path or URL)", metavar="DATASET")]
RunArgument = Annotated[str, typer.Argument(help="the folder of a run", metavar="RUN")]
Split = Annotated[str | None, typer.Option(help="the split to use (evaluate: val, else test; otherwise all)")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace what is there")]


def recipe_app(name: str, recipe: Recipe) -> typer.Typer:
    """The commands of a recipe. name: by which it was found, and will be found again.

    Raises:
        EchelonError: two of its commands have one name, or a parameter has no type.
    """
    app = typer.Typer(help=inspect.getdoc(recipe), no_args_is_help=True)
    known = {"recipe": recipe, "name": name}
    source = Annotated[str, typer.Argument(help=recipe.sources, metavar="SRC")]
    any_source = Annotated[str, typer.Argument(help=f"a dataset, or raw files: {recipe.sources}", metavar="SRC")]
    lines = f", or - for the standard input, of which each line is {recipe.item}" if recipe.item else ""
    files = f", or {recipe.item_endings[0]} files, each of them an item" if recipe.item_endings else ""
    predicted = Annotated[
        list[str],
        typer.Argument(
            help=f"a dataset, or raw files: {recipe.sources}; and the folder for the predictions{lines}{files}",
            metavar="SRC [OUT]",
        ),
    ]
    for command, types in (
        (_prepare, {"source": source, "options": recipe.prepare_options}),
        (_train, {"options": recipe.train_options}),
        (_evaluate, {"source": any_source}),
        (_predict, {"given": predicted}),
        (_features, {"source": any_source}),
    ):
        app.command(verb_name(command))(expanded(_bound(command, known, types)))
    for own in recipe.commands():
        if verb_name(own) in [command.name for command in app.registered_commands]:
            raise EchelonError(f"the recipe {name} has two commands called '{verb_name(own)}': rename its function")
        app.command(verb_name(own))(expanded(as_verb(own)))
    return app


def _bound(command: Callable[..., None], known: dict[str, Any], types: dict[str, Any]) -> Callable[..., None]:
    """A command of one recipe: what is known of it needs no flags, and it has the types that only the recipe knows."""
    hints = {**get_type_hints(command, include_extras=True), **types}
    parameters = inspect.signature(command).parameters
    kept = [p for p in parameters.values() if p.name not in known]
    fixed = {key: value for key, value in known.items() if key in parameters}

    def call(**values: Any) -> None:
        command(**fixed, **values)

    call.__name__, call.__doc__ = command.__name__, command.__doc__
    call.__annotations__ = {p.name: hints[p.name] for p in kept}
    call.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    return call


def _prepare(
    recipe: Recipe,
    source: str,
    dataset: Annotated[str, typer.Argument(help="folder to write (path or URL)", metavar="DATASET")],
    options: Any,
    place: PlaceOptions,
    overwrite: Overwrite = False,
) -> None:
    """Turns raw files into a dataset, with Spark."""
    where = place.place
    spark = session(where.master, where.workers, where.conf, gang=False)
    with preparing(ERR):
        written = recipe.prepare(spark, source, dataset, options, fitting=None, overwrite=overwrite)
    say(describe(written))


def _train(
    name: str,
    recipe: Recipe,
    dataset: DatasetArgument,
    options: Any,
    strategy: StrategyOptions,
    config: RunConfig,
    place: PlaceOptions,
    given: Given,
    run: Annotated[str | None, typer.Option(help="folder for all that comes out (default: a new one in runs/)")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the newest checkpoint of --run")] = False,
) -> None:
    """Trains a model on a dataset, and writes a report."""
    order = Order(name, recipe, open_dataset(dataset), options, strategy, config, place.place, given, run, resume)
    finished = train(order)
    if finished is not None:
        show_run(finished, recipe)


def _evaluate(
    recipe: Recipe,
    run: RunArgument,
    source: str,
    place: PlaceOptions,
    forward: Forward,
    split: Split = None,
) -> None:
    """Evaluates a run on every row of a split, once each."""
    folder, where = RunFolder(run), place.place
    with _opened(recipe, folder.learner, folder, source, where) as dataset:
        evaluation = evaluate_run(folder, dataset, where, split=split, forward=forward)
    show_evaluation(evaluation, recipe.exhibits(folder.learner, evaluation.arrays, None))


def _predict(
    recipe: Recipe,
    run: RunArgument,
    given: list[str],
    place: PlaceOptions,
    forward: Forward,
    split: Split = None,
    overwrite: Overwrite = False,
) -> None:
    """Writes a prediction for every row, once each and with its key; or prints one for each single item: each line of
    the standard input (-) or each file, without Spark.
    """
    folder, where = RunFolder(run), place.place
    if given == [STANDARD_INPUT]:
        predict_items(recipe, folder, forward)
        return
    if are_items(recipe, given):
        if lost := predict_files(recipe, folder, forward, given):
            raise EchelonError(f"{lost} of {len(given)} files could not be read")
        return
    if len(given) == 1:
        raise EchelonError(f"say where the predictions shall go: predict {run} {given[0]} OUT")
    if len(given) > 2:
        raise EchelonError(f"predict takes a source and a folder for the predictions, got {', '.join(given)}")
    source, out = given
    # First, since raw files may take hours.
    check_free(open_storage(out), overwrite)
    told: list[str] = []

    def complete(predictions: Dataset) -> None:
        told.append(recipe.predicted(folder.learner, predictions))

    with _opened(recipe, folder.learner, folder, source, where) as dataset:
        written = predict_run(
            folder, dataset, out, where, split=split, forward=forward, overwrite=overwrite, before=complete
        )
    say(describe(written))
    for text in filter(None, told):
        say(text)


def _features(
    recipe: Recipe,
    run: RunArgument,
    source: str,
    place: PlaceOptions,
    forward: Forward,
    out: Annotated[str | None, typer.Argument(help="folder for the features", metavar="OUT")] = None,
    layer: Annotated[str | None, typer.Option(help="the layer to write (default: list them, write nothing)")] = None,
    split: Split = None,
    overwrite: Overwrite = False,
) -> None:
    """Writes the output of a layer for every row, as a column "features" beside its key and label."""
    if layer is not None and out is None:
        raise EchelonError(f"--layer {layer}: say where its output shall go: features RUN SRC OUT --layer {layer}")
    folder, where = RunFolder(run), place.place
    with _opened(recipe, folder.learner, folder, source, where) as dataset:
        if layer is None or out is None:
            show_layers(layers_of_run(folder, dataset, split=split))
            return
        written = features_run(folder, dataset, out, layer, where, split=split, forward=forward, overwrite=overwrite)
    say(describe(written))


@contextmanager
def _opened(recipe: Recipe, learner: Learner, folder: RunFolder, source: str, place: Place) -> Iterator[Dataset]:
    """A dataset; of raw files one that fits the learner, for as long as it is needed."""
    if open_storage(source).exists(MANIFEST):
        yield open_dataset(source)
        return
    home = f"scratch/{uuid.uuid4().hex}"
    spark = session(place.master, place.workers, place.conf, gang=False)
    try:
        options = recipe.prepare_options()
        url = folder.storage.url_of(home)
        with preparing(ERR):
            dataset = recipe.prepare(spark, source, url, options, fitting=learner, overwrite=False)
        say(describe(dataset, source))
        yield dataset
    finally:
        folder.storage.delete_tree(home)
