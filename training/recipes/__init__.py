"""The training recipes by name."""

from ktb.utils.text import did_you_mean
from training.recipes.ablations import ABLATIONS, COMPARISONS
from training.recipes.base import Recipe
from training.recipes.camvid import CAMVID_THERMAL, CAMVID_THERMAL_PAIRS
from training.recipes.custom import CUSTOM_LITE, CUSTOM_SWIN_B, CUSTOM_SWIN_L
from training.recipes.deliver import DELIVER_LITE_EVENT, DELIVER_SWIN_B_EVENT
from training.recipes.mcubes import MCUBES_LITE, MCUBES_SWIN_B
from training.recipes.mfnet import MFNET_LITE, MFNET_SWIN_B, MFNET_SWIN_L
from training.recipes.nyuv2 import NYUV2_SWIN_B, NYUV2_SWIN_L
from training.recipes.nyuv2_event import NYUV2_LITE_EVENT
from training.recipes.nyuv2_lite import NYUV2_LITE, NYUV2_LITE_FINE, NYUV2_LITE_LONG
from training.recipes.nyuv2_sensors import (
    NYUV2_LITE2,
    NYUV2_LITE2_SENSORS,
    NYUV2_LITE_MIXED,
    NYUV2_LITE_SENSORS,
)
from training.recipes.overrides import changed_model, override
from training.recipes.pst900 import PST900_LITE, PST900_SWIN_B, PST900_SWIN_L
from training.recipes.sunrgbd import SUNRGBD_LITE, SUNRGBD_SWIN_B, SUNRGBD_SWIN_L

GROUPS: dict[str, tuple[Recipe, ...]] = {
    "as published": (
        NYUV2_SWIN_B,
        NYUV2_SWIN_L,
        SUNRGBD_SWIN_B,
        SUNRGBD_SWIN_L,
        MFNET_SWIN_B,
        MFNET_SWIN_L,
        PST900_SWIN_B,
        PST900_SWIN_L,
        *MCUBES_SWIN_B,
        DELIVER_SWIN_B_EVENT,
    ),
    "small": (
        NYUV2_LITE,
        NYUV2_LITE_FINE,
        NYUV2_LITE_LONG,
        NYUV2_LITE_SENSORS,
        NYUV2_LITE_MIXED,
        NYUV2_LITE2,
        NYUV2_LITE2_SENSORS,
        NYUV2_LITE_EVENT,
        SUNRGBD_LITE,
        MFNET_LITE,
        PST900_LITE,
        *MCUBES_LITE,
        DELIVER_LITE_EVENT,
        CAMVID_THERMAL,
        CAMVID_THERMAL_PAIRS,
    ),
    "ablations": (*ABLATIONS, *COMPARISONS),
    "custom dataset": (CUSTOM_LITE, CUSTOM_SWIN_B, CUSTOM_SWIN_L),
}
RECIPES: dict[str, Recipe] = {recipe.name: recipe for group in GROUPS.values() for recipe in group}

__all__ = ["GROUPS", "RECIPES", "Recipe", "changed_model", "get_recipe", "override"]


def get_recipe(name: str) -> Recipe:
    """The recipe with this name; ValueError with the nearest name if there is none."""
    if name not in RECIPES:
        known = "; ".join(
            f"{title}: {', '.join(recipe.name for recipe in group)}" for title, group in GROUPS.items()
        )
        raise ValueError(f"Unknown recipe '{name}'.{did_you_mean(name, RECIPES)} Known: {known}.")
    return RECIPES[name]
