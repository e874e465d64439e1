"""Images: raw files to pixels, networks that classify them, and their solvers, in the order of the data: sources,
prepare, models, learner.
"""

from echelon.recipes.images.recipe import ImagesRecipe

RECIPE = ImagesRecipe()
