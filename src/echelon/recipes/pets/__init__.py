"""Pets: photographs to features of a network that was trained on ImageNet, and linear classifiers of breeds on them."""

from echelon.recipes.pets.recipe import PetsRecipe

RECIPE = PetsRecipe()
