"""Music: songs to new songs, in the order of the data: crawl, prepare, WaveNet, learner, sampling."""

from echelon.recipes.music.recipe import MusicRecipe

RECIPE = MusicRecipe()
"""The music recipe as the command line and the demo see it."""
