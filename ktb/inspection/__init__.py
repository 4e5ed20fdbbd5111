"""Looking into the fusion: where a pixel looked, who fed it, what the attention says, what it reacts to."""

from ktb.inspection.inspector import Inspection
from ktb.inspection.maps import clipped_range, level_maps
from ktb.inspection.pixel import (
    PixelShares,
    at_of_pixel,
    cell_at,
    inspect_pixel,
    pixel_balances,
    pixel_shares,
    place_in_image,
    strongest,
)
from ktb.inspection.views import UNIFORM_ENTROPY, Attribution, LevelMaps, PixelView

__all__ = [
    "UNIFORM_ENTROPY",
    "Attribution",
    "Inspection",
    "LevelMaps",
    "PixelShares",
    "PixelView",
    "at_of_pixel",
    "cell_at",
    "clipped_range",
    "inspect_pixel",
    "level_maps",
    "pixel_balances",
    "pixel_shares",
    "place_in_image",
    "strongest",
]
