"""Commands that a recipe brings itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from echelon.cli.recipe import recipe_app
from echelon.driver import Place
from echelon.errors import EchelonError
from echelon.recipes.recipe import Command, Recipe
from echelon.train.config import option


@dataclass(frozen=True)
class Colours:
    """How it is painted."""

    red: int = option(3, "parts of red")
    glossy: bool = option(False, "with a varnish")


def paint_wall(wall: Annotated[str, typer.Argument(help="which one")], colours: Colours, place: Place) -> str:
    """Paints a wall."""
    return f"{wall} [{colours.red}] {colours.glossy} by {place.workers} at {place.master} with {dict(place.conf)}"


def look() -> None:
    """Says nothing."""


def train() -> None:
    """Has a name that is taken."""


def untyped(wall) -> None:  # type: ignore[no-untyped-def]
    """Has a parameter without a type."""


class House(Recipe):
    """Builds houses."""

    def __init__(self, *commands: Command) -> None:
        self._commands = commands

    def prepare(self, session, source, url, options, *, fitting, overwrite):  # type: ignore[no-untyped-def]
        raise AssertionError("no test prepares anything")

    def learner(self, dataset, options, config):  # type: ignore[no-untyped-def]
        raise AssertionError("no test trains anything")

    def commands(self) -> tuple[Command, ...]:
        return self._commands


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(recipe_app("house:HOUSE", House(paint_wall, look)), arguments, env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_a_function_becomes_a_command_beside_the_others() -> None:
    code, helped = run("--help")
    assert code == 0
    assert "Builds houses." in helped
    for told in ("prepare", "predict", "paint-wall", "Paints a wall.", "look"):
        assert told in helped


def test_its_dataclasses_and_its_place_become_flags() -> None:
    code, helped = run("paint-wall", "--help")
    assert code == 0
    for told in ("which one", "How it is painted", "parts of red", "--no-glossy", "--workers", "--master", "--conf"):
        assert told in helped


def test_what_it_returns_is_printed_as_it_is() -> None:
    given = ("--red", "4", "--glossy", "--workers", "2", "--conf", "a.b=c")
    assert run("paint-wall", "north", *given) == (0, "north [4] True by 2 at None with {'a.b': 'c'}\n")
    assert run("look") == (0, "")


def test_a_name_that_is_taken_and_a_parameter_without_a_type_are_refused() -> None:
    with pytest.raises(EchelonError, match="two commands called 'train'"):
        recipe_app("house:HOUSE", House(train))
    with pytest.raises(EchelonError, match="give wall a type"):
        recipe_app("house:HOUSE", House(untyped))
