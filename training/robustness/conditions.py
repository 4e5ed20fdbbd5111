"""The conditions of the robustness suite: families with levels, one of them clean, and their keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from training.data.datasets.sample import choose
from training.robustness.corruptions import KINDS, Corruption, Kind

VERSION = 1
"""Increased whenever a condition of an existing key changes its meaning: old scores are then rejected."""

CLEAN = "clean"
MISSING = "missing"
WAYS = ("tokens", "image")
"""The ways to remove a modality: zero its tokens after patch embedding (MMST), or use an image of zeros."""
ONLY: Mapping[str, str] = MappingProxyType({"rgb-only": "x", "x-only": "rgb"})
"""The present modality → the missing one."""


@dataclass(frozen=True)
class Family:
    """The conditions of one curve: `variants` (short name → kind of corruption) at the kinds' levels."""

    title: str
    variants: Mapping[str, str]

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kinds by variant."""
        return {variant: KINDS[name] for variant, name in self.variants.items()}

    @property
    def kind(self) -> Kind:
        """The first variant's kind; all variants have the same levels, unit and clean level."""
        return next(iter(self.kinds.values()))

    def ordered_levels(self) -> list[float]:
        """All levels with the clean one: away from clean, or ascending if they lie on both sides of it."""
        levels = sorted({*self.kind.levels, self.kind.clean})
        return levels[::-1] if levels[-1] == self.kind.clean else levels


CORRUPTED: Mapping[str, Family] = MappingProxyType({
    "x-pixels": Family("Pixels of X missing (RMM)", {"": "x-pixels"}),
    "x-noise": Family("Noise on X (NM)", {"": "x-noise"}),
    "x-shift": Family("X shifted", {"": "x-shift"}),
    "x-rotate": Family("X rotated", {"": "x-rotate"}),
    "x-scale": Family("X scaled", {"": "x-scale"}),
    "blur": Family("RGB image out of focus", {"": "blur"}),
    "motion-blur": Family("RGB image blurred by motion", {"": "motion-blur"}),
    "dark": Family("RGB image in the dark", {"": "dark"}),
    "holes": Family("Holes in the depth", {"zero": "holes", "filled": "holes-filled"}),
})  # fmt: skip
"""The families that change pixels, by name."""

FAMILIES = (MISSING, *CORRUPTED)


@dataclass(frozen=True)
class Condition:
    """One evaluation of the suite.

    key: "clean", "missing/rgb-only/tokens", "x-shift/4", "holes/0.25/filled". level: a number, or the
    present modality. variant: "" if the family has only one.
    """

    family: str
    level: float | str
    variant: str = ""

    @property
    def key(self) -> str:
        """The parts joined by "/"."""
        if self.family == CLEAN:
            return CLEAN
        level = self.level if isinstance(self.level, str) else f"{self.level:g}"
        return "/".join(filter(None, (self.family, level, self.variant)))

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for `training.evaluation.evaluator.evaluate`."""
        if self.family == CLEAN:
            return {}
        if self.family == MISSING:
            return {"missing": ONLY[self.level], "missing_as": self.variant}
        return {"corruption": Corruption(CORRUPTED[self.family].variants[self.variant], self.level)}


def all_conditions() -> dict[str, Condition]:
    """Every condition by key in the order of the suite, clean first."""
    conditions = [Condition(CLEAN, "both")]
    conditions += [Condition(MISSING, only, way) for way in WAYS for only in ONLY]
    for name, family in CORRUPTED.items():
        for variant in family.variants:
            conditions += [Condition(name, level, variant) for level in family.kind.levels]
    return {condition.key: condition for condition in conditions}


def select(wanted: Sequence[str] | None, modality: str) -> tuple[list[Condition], dict[str, str]]:
    """The conditions to run, always with clean first, and {skipped family: reason}.

    wanted: families or keys; None for all. Raises ValueError with the unknown name.
    """
    known = all_conditions()
    chosen: set[str] = {CLEAN}
    for name in FAMILIES if wanted is None else wanted:
        if "/" in name or name == CLEAN:
            chosen.add(choose("Condition", name, known))
        else:
            choose("Family", name, FAMILIES)
            chosen |= {key for key, condition in known.items() if condition.family == name}
    skipped = {}
    for name, family in CORRUPTED.items():
        allowed = family.kind.modalities
        if allowed and modality not in allowed and any(known[key].family == name for key in chosen):
            skipped[name] = f"only for X = {' or '.join(allowed)}, here X = {modality}"
    return [c for key, c in known.items() if key in chosen and c.family not in skipped], skipped
