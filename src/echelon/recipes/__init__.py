"""Ready applications, from raw files to predictions."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from echelon.errors import EchelonError

if TYPE_CHECKING:
    from echelon.recipes.recipe import Recipe

READY = {
    "images": (
        "echelon.recipes.images:RECIPE",
        "class folders, CIFAR-10, tar archives of ImageNet, Caffe's LMDBs, or Parquet",
    ),
    "music": ("echelon.recipes.music:RECIPE", "songs, to learn what comes next in them and to make new ones"),
    "pets": ("echelon.recipes.pets:RECIPE", "photographs of pets, one breed told from another or from all"),
    "reviews": ("echelon.recipes.reviews:RECIPE", "texts with ratings, as JSON lines"),
    "video": ("echelon.recipes.video:RECIPE", "features of videos as YouTube-8M publishes them, as TFRecord files"),
}
"""The recipes of Echelon: by name, where each is and what it takes."""


def find_recipe(name: str) -> Recipe:
    """One of ours by its name, or a user's own as "package.module:NAME", also from the current folder.

    Raises:
        EchelonError: there is none, or it is something else.
    """
    from echelon.recipes.recipe import Recipe

    module, _, attribute = READY.get(name, (name, ""))[0].partition(":")
    if not attribute:
        raise EchelonError(
            f"there is no recipe '{name}'; there are: {', '.join(READY)}, or your own package.module:NAME"
        )
    if name not in READY:
        _look_here()
    recipe = getattr(_imported(module, name), attribute, None)
    if recipe is None:
        raise EchelonError(f"the recipe {name} cannot be imported: {module} has no {attribute}")
    if isinstance(recipe, type) and issubclass(recipe, Recipe):
        raise EchelonError(f"{name} is a class: write RECIPE = {attribute}() below it, and name {module}:RECIPE")
    if not isinstance(recipe, Recipe):
        raise EchelonError(f"{name} is a {type(recipe).__name__}, not a Recipe of echelon.recipes.recipe")
    return recipe


def _imported(module: str, name: str) -> ModuleType:
    try:
        return import_module(module)
    except Exception as error:
        parents = {module[:end] for end, letter in enumerate(f"{module}.") if letter == "."}
        if isinstance(error, ModuleNotFoundError) and error.name in parents:
            raise EchelonError(f"the recipe {name} cannot be imported: {error}") from None
        raise EchelonError(f"the recipe {name} cannot be imported: {_told(error)}") from error


def _told(error: Exception) -> str:
    """An error of a module that is imported, and where it is."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename}:{frame.lineno}" for frame in frames if "importlib" not in frame.filename]
    # A syntax error says itself where it is; the frames only say who imported.
    at = f" ({where[-1]})" if len(where) > 1 and not isinstance(error, SyntaxError) else ""
    return f"{type(error).__name__}: {error}{at}"


def short_name(name: str) -> str:
    """What the runs of a recipe are called: the last part of its module's name."""
    return name.partition(":")[0].rpartition(".")[2]


def _look_here() -> None:
    """Modules of the current folder come first, as with `python -m`; Spark's local tasks then find them too."""
    here = os.getcwd()
    if not sys.flags.safe_path and here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
