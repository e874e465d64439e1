"""Videos: features of YouTube-8M to labels, in the order of the data: TFRecord files, prepare, models, metrics,
learner, and the challenge's CSV.
"""

from echelon.recipes.video.recipe import VideoRecipe

RECIPE = VideoRecipe()
"""The video recipe as the command line and the demo see it."""
