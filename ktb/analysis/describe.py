"""Descriptions of inspections in sentences, which also report uninformative maps."""

from __future__ import annotations

from math import isnan

import numpy as np

from ktb.analysis.comparison import RegionEffect
from ktb.analysis.types import UNIFORM_ENTROPY, Attribution, LevelMaps, PixelView
from ktb.utils.text import percent

EVEN = 0.05  # a balance within this distance of one half prefers no sensor
FLAT = 0.05  # a map whose central 98 % span less than this is constant
SMALL = 0.05  # fractions below this are negligible
MAX_CHANGES = 2  # of classes, in a sentence

NO_X = "There was no X, so balance, weights and points say nothing about a second sensor."
NO_INFORMATION = "Attention is uniform at this level: its maps carry no information"


def describe_level(maps: LevelMaps, x_name: str = "x") -> str:
    """Describe a level: information in its maps, preferred sensor, and fraction of the sparse attention.

    Args:
        maps: of the level.
        x_name: name of X in the sentences.

    Returns:
        Two to four sentences, plain text. Without X they say nothing about its contribution.
    """
    points, entropy = len(maps.weight_x), float(maps.entropy.mean())
    mean = float(maps.balance.mean())
    share = float(maps.sparse_share.mean())
    if maps.is_uniform:
        sharpness = [
            f"{NO_INFORMATION} (normalised entropy {entropy:.2f}, 1 = uniform).",
            f"The balance is only the mean of the points' modality weights: {percent(mean, 0)} {x_name}.",
        ]
        sharpness = sharpness[:1] if maps.x_is_missing else sharpness
    else:
        effective = float(np.exp(maps.entropy * np.log(points)).mean())
        sharpness = [_sharpness("each head's attention from a position", entropy, effective, points)]
        uniform = int((maps.entropy.mean(axis=(1, 2)) >= UNIFORM_ENTROPY).sum())
        if uniform:
            sharpness.append(f"{uniform} of its {len(maps.entropy)} heads are uniform and uninformative.")
        if not maps.x_is_missing:
            sharpness.append(f"{_preference(mean, x_name)}{_range(maps.balance, x_name)}.")
    residual = None if maps.residual_share is None else float(maps.residual_share.mean())
    no_x = [NO_X] if maps.x_is_missing else []
    return " ".join([*no_x, *sharpness, _through(share, residual, "the fused feature", maps.x_is_missing)])


def describe_pixel(view: PixelView, x_name: str = "x") -> str:
    """Describe one pixel at one level, as `describe_level`."""
    who = "this pixel's attention" if view.head is None else f"head {view.head}'s attention from this pixel"
    if view.entropy >= UNIFORM_ENTROPY:
        what = "its points carry" if view.x_is_missing else "its points and its balance carry"
        sharpness = (
            f"{_capital(who)} is uniform (normalised entropy {view.entropy:.2f}, 1 = uniform): {what} no "
            "information."
        )
    else:
        who = "each head's attention from this pixel" if view.head is None else who
        sharpness = _sharpness(who, view.entropy, view.effective_points, view.points_per_head)
        if not view.x_is_missing:
            sharpness += f" {_preference(view.balance, x_name)}."
    through = _through(view.sparse_share, view.residual_share, "its fused feature", view.x_is_missing)
    return f"{sharpness} {through}"


def describe_region(effect: RegionEffect, x_name: str = "X") -> str:
    """Describe the effect of an ablation inside a region in one sentence.

    Args:
        x_name: name of X in the sentence.
    """
    name = x_name if effect.sensor == "x" else "RGB"
    if effect.changes:
        said = [f"{one.before} becomes {one.after}" for one in effect.changes[:MAX_CHANGES]]
        if len(effect.changes) > 1:
            said = [f"{text} ({percent(one.share, 0)})" for text, one in zip(said, effect.changes)]
        inside = f"{percent(effect.inside, 0)} of its pixels change: {', '.join(said)}"
    else:
        inside = "none of its pixels changes"
    outside = "" if isnan(effect.outside) else f"; {percent(effect.outside, 0)} change outside"
    return f"Without {name} in this region {inside}{outside}."


def describe_attribution(attribution: Attribution, x_name: str = "x") -> str:
    """Describe an attribution: the sensor that the score is sensitive to, and the effect of each ablation."""
    share = attribution.share_x
    if attribution.x_is_missing:
        return (
            f"The {attribution.score} is {attribution.value:.2f}. There was no X, so it reacts to rgb alone, "
            "and no ablation compares two sensors."
        )
    if abs(share - 0.5) <= EVEN:
        reacts = "reacts to both sensors about equally"
    else:
        more, part = ("rgb", 1 - share) if share < 0.5 else (x_name, share)
        reacts = f"reacts more to {more} ({percent(part, 0)} of the summed sensitivity)"
    agree = (share > 0.5) == (abs(attribution.without_x) > abs(attribution.without_rgb))
    text = (
        f"The {attribution.score} is {attribution.value:.2f}; it {reacts}. Ablating rgb "
        f"changes it by {_signed(attribution.without_rgb)}, ablating {x_name} by "
        f"{_signed(attribution.without_x)}."
    )
    if agree or abs(share - 0.5) <= EVEN:
        return text
    return f"{text} The two disagree: a gradient describes small changes, an ablation is a large one."


def _signed(change: float) -> str:
    return f"{change:+.2f}".replace("-", "−")


def _sharpness(who: str, entropy: float, effective: float, points: int) -> str:
    return (
        f"{_capital(who)} rests on about {effective:.0f} of {points} points (normalised entropy "
        f"{entropy:.2f}, 1 = uniform)."
    )


def _preference(balance: float, x_name: str) -> str:
    if abs(balance - 0.5) <= EVEN:
        return f"It takes about equally from both sensors ({percent(balance, 0)} {x_name})"
    return f"{_capital(percent(1 - balance, 0))} of the attention reads rgb, {percent(balance, 0)} {x_name}"


def _range(balance: np.ndarray, x_name: str) -> str:
    low, high = np.percentile(balance, (1, 99))
    if high - low < FLAT:
        return ", nearly the same everywhere"
    return f"; over the image {percent(low, 0)} to {percent(high, 0)} goes to {x_name}"


def _through(share: float, residual: float | None, what: str, x_is_missing: bool) -> str:
    source = "both streams" if x_is_missing else "both sensors"
    context = f"the rest is context, convolved from {source} together and not attributable to one"
    if residual is not None:
        owner = "both streams'" if x_is_missing else "both sensors'"
        context = f"{percent(residual, 0)} is the residual, the mean of {owner} features; {context}"
    if share < SMALL:
        return f"Next to nothing of {what} comes through the attention ({percent(share, 0)}); {context}."
    return f"{_capital(percent(share, 0))} of {what} comes through the attention; {context}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
