"""Networks that were trained on ImageNet, up to the layer whose output says what an image shows; their public weights
in the layouts in which they are published.
"""
