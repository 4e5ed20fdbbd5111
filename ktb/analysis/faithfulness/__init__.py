"""Faithfulness of maps: whether a map forecasts which positions change their class when a sensor is ablated.

A sensor map claims to tell where a sensor matters. Ablation measures where it does. The agreement of both is
an AUROC: the probability that the map is higher at a position that changes than at one that does not; 0.5 is
chance. Positions near a decision boundary change at any disturbance, so the AUROC is also computed within
tenths of the margin, where indecision alone says little.
"""

from ktb.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
