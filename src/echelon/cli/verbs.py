"""A recipe's own functions as commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from echelon.cli.choices import PlaceOptions
from echelon.cli.console import tell
from echelon.driver import Place
from echelon.errors import EchelonError
from echelon.recipes.recipe import Command


def verb_name(command: Command) -> str:
    """What a function is called on the command line."""
    return command.__name__.strip("_").replace("_", "-")


def as_verb(command: Command) -> Callable[..., None]:
    """A function whose parameters are plain or dataclasses: a `Place` is asked for by flags, and what the function
    returns is printed.

    Raises:
        EchelonError: a parameter has no type.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters
    untyped = [name for name in parameters if name not in hints]
    if untyped:
        raise EchelonError(f"{command.__module__}.{command.__name__} cannot be a command: give {untyped[0]} a type")

    def call(**values: Any) -> None:
        chosen = {name: value.place if isinstance(value, PlaceOptions) else value for name, value in values.items()}
        told = command(**chosen)
        if told is not None:
            tell(told)

    call.__name__, call.__doc__ = command.__name__, command.__doc__
    call.__annotations__ = {name: PlaceOptions if hints[name] is Place else hints[name] for name in parameters}
    call.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    return call
