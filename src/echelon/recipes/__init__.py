"""Ready applications, from raw files to predictions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from echelon.errors import EchelonError

if TYPE_CHECKING:
    from echelon.recipes.recipe import Recipe

READY = {"images": ("echelon.recipes.images:RECIPE", "CIFAR-10, or a folder with a folder of images for each class")}
"""The recipes of Echelon: by name, where each is and what it takes."""


def find_recipe(name: str) -> Recipe:
    """One of ours by its name, or a user's own as "package.module:recipe".

    Raises:
        EchelonError: there is none, or it is something else.
    """
    from echelon.recipes.recipe import Recipe

    module, _, attribute = READY.get(name, (name, ""))[0].partition(":")
    if not attribute:
        raise EchelonError(
            f"there is no recipe '{name}'; there are: {', '.join(READY)}, or your own package.module:name"
        )
    try:
        recipe = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise EchelonError(f"the recipe {name} cannot be imported: {error}") from None
    if not isinstance(recipe, Recipe):
        raise EchelonError(f"{name} is a {type(recipe).__name__}, not a Recipe of echelon.recipes.recipe")
    return recipe
