"""Looking into the fusion: where a pixel looked, who fed it, what the attention says, what it reacts to."""

from typing import TYPE_CHECKING

from ktb.utils.lazy import lazily

if TYPE_CHECKING:
    from ktb.inspection.attribution import attribute, attribute_prediction
    from ktb.inspection.inspector import Inspection
    from ktb.inspection.maps import level_maps
    from ktb.inspection.pixel import inspect_pixel, pixel_balances, pixel_shares
    from ktb.inspection.places import at_of_pixel, cell_at, place_in_image, strongest
    from ktb.inspection.ranges import clipped_range
    from ktb.inspection.targets import Target, TargetKind, region_at, target_at
    from ktb.inspection.views import UNIFORM_ENTROPY, Attribution, LevelMaps, PixelShares, PixelView
    from ktb.inspection.words import describe_attribution, describe_level, describe_pixel

__all__ = [
    "UNIFORM_ENTROPY",
    "Attribution",
    "Inspection",
    "LevelMaps",
    "PixelShares",
    "PixelView",
    "Target",
    "TargetKind",
    "at_of_pixel",
    "attribute",
    "attribute_prediction",
    "cell_at",
    "clipped_range",
    "describe_attribution",
    "describe_level",
    "describe_pixel",
    "inspect_pixel",
    "level_maps",
    "pixel_balances",
    "pixel_shares",
    "place_in_image",
    "region_at",
    "strongest",
    "target_at",
]
__getattr__ = lazily(
    __name__,
    {
        "attribution": ("attribute", "attribute_prediction"),
        "inspector": ("Inspection",),
        "maps": ("level_maps",),
        "pixel": ("inspect_pixel", "pixel_balances", "pixel_shares"),
        "places": ("at_of_pixel", "cell_at", "place_in_image", "strongest"),
        "ranges": ("clipped_range",),
        "targets": ("Target", "TargetKind", "region_at", "target_at"),
        "views": ("UNIFORM_ENTROPY", "Attribution", "LevelMaps", "PixelShares", "PixelView"),
        "words": ("describe_attribution", "describe_level", "describe_pixel"),
    },
)
