"""Inspection of the fusion: attention of a pixel, sensor balance, level maps and attribution."""

from ktb.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
