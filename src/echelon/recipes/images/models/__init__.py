"""Networks for images, one a file, and the classifier that puts one behind its pre-processing."""

from echelon.recipes.images.models.alexnet import AlexNet, CaffeNet
from echelon.recipes.images.models.classifier import Classifier, seen_size
from echelon.recipes.images.models.googlenet import GoogLeNet
from echelon.recipes.images.models.quick import Quick
from echelon.recipes.images.models.resnet import ResNet

__all__ = ["AlexNet", "CaffeNet", "Classifier", "GoogLeNet", "Quick", "ResNet", "seen_size"]
