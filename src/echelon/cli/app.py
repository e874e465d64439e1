"""The `echelon` command."""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from types import FrameType
from typing import Annotated

import typer

import echelon
from echelon.cli.console import OUT, complain, say
from echelon.cli.demo import demo
from echelon.cli.runs import compare, report, runs
from echelon.errors import EchelonError
from echelon.recipes import READY, find_recipe

INTERRUPTED, TERMINATED = 130, 143


def build(arguments: list[str]) -> typer.Typer:
    """All commands, given the arguments.

    Torch takes seconds to load, so the commands of a recipe are made only if it is named. A user's own recipe,
    package.module:NAME, has them too if it is the first argument.
    """
    app = typer.Typer(
        help=echelon.__doc__,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    named = next((argument for argument in arguments if not argument.startswith("-")), "")
    for name, (_, about) in READY.items():
        if name != named:
            app.add_typer(typer.Typer(help=about), name=name, rich_help_panel="Recipes")
    if named in READY or ":" in named:
        from echelon.cli.recipe import recipe_app

        app.add_typer(recipe_app(named, find_recipe(named)), name=named, rich_help_panel="Recipes")
    for command in (runs, report, compare):
        app.command(rich_help_panel="Runs")(command)
    app.command(rich_help_panel="First steps")(demo)
    return app


def main() -> None:
    """Runs one command; the exit status is 1 for an error that is explained, 2 for a wrong command line."""
    _quiet()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        build(sys.argv[1:])()
    except EchelonError as error:
        complain(str(error))
        sys.exit(1)
    except KeyboardInterrupt as error:
        say(str(error) or "interrupted")
        sys.exit(TERMINATED if error.args else INTERRUPTED)


def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    if version:
        OUT.print(echelon.__version__)
        raise typer.Exit


def _terminate(number: int, frame: FrameType | None) -> None:
    """Ends as Ctrl-C does, so that the run says that it failed: schedulers end processes this way."""
    raise KeyboardInterrupt("terminated by SIGTERM")


def _quiet() -> None:
    """Warnings as one line each, and nothing of py4j's own log."""
    logging.getLogger("py4j").setLevel(logging.ERROR)
    warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
