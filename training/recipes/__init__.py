"""The training recipes by name."""

import difflib

from training.recipes.base import Recipe, override
from training.recipes.nyuv2_lite import NYUV2_LITE, NYUV2_LITE_FINE, NYUV2_LITE_LONG

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (NYUV2_LITE, NYUV2_LITE_FINE, NYUV2_LITE_LONG)
}

__all__ = ["RECIPES", "Recipe", "get_recipe", "override"]


def get_recipe(name: str) -> Recipe:
    """The recipe called `name`; ValueError with the nearest name if there is none."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"Unknown recipe '{name}'; known: {', '.join(RECIPES)}.{hint}")
    return RECIPES[name]
