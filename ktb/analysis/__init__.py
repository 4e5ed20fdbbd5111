"""Inspection of the fusion: attention of a pixel, sensor balance, level maps and attribution."""

from typing import TYPE_CHECKING

from ktb.utils.lazy import lazy_names

if TYPE_CHECKING:
    from ktb.analysis.attribution import attribute, attribute_prediction
    from ktb.analysis.color_range import clipped_range
    from ktb.analysis.describe import describe_attribution, describe_level, describe_pixel
    from ktb.analysis.inspection import Inspection
    from ktb.analysis.maps import level_maps
    from ktb.analysis.pixel import inspect_pixel, pixel_balances, pixel_shares
    from ktb.analysis.targets import Target, TargetKind, region_at, target_at
    from ktb.analysis.types import (
        UNIFORM_ENTROPY,
        Attribution,
        LevelMaps,
        PixelShares,
        PixelView,
        at_of_pixel,
        cell_at,
        place_in_image,
        strongest,
    )

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
__getattr__ = lazy_names(
    __name__,
    {
        "attribution": ("attribute", "attribute_prediction"),
        "inspection": ("Inspection",),
        "maps": ("level_maps",),
        "pixel": ("inspect_pixel", "pixel_balances", "pixel_shares"),
        "color_range": ("clipped_range",),
        "targets": ("Target", "TargetKind", "region_at", "target_at"),
        "types": (
            "UNIFORM_ENTROPY",
            "Attribution",
            "LevelMaps",
            "PixelShares",
            "PixelView",
            "at_of_pixel",
            "cell_at",
            "place_in_image",
            "strongest",
        ),
        "describe": ("describe_attribution", "describe_level", "describe_pixel"),
    },
)
