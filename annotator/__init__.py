"""Annotator: facial-expression training data from consenting people."""

__version__ = "0.1.0"
