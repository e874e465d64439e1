"""Reviews: texts to the numbers of their words, networks that read them, and what they say of them, in the order of the
data: sources, prepare, models, learner.
"""

from echelon.recipes.reviews.recipe import ReviewsRecipe

RECIPE = ReviewsRecipe()
