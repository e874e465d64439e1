"""Echelon trains PyTorch models on the Apache Spark cluster where the data already is, or on one laptop."""

__version__ = "0.1.0"
