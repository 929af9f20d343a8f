"""Rows -> batches, in an order that is a function of the seed alone, over any number of ranks and worker processes."""

from .loader import Loader

__all__ = ["Loader"]
