"""What the score of a pixel, its region or its class reacts to in both sensors."""

from __future__ import annotations

import cv2
import numpy as np
from markupsafe import Markup

from app.html.images import display_size, figure_tag, image_tag
from app.html.svg import color_bar
from app.html.templates import render
from app.results import Result
from ktb.analysis.color_range import ColorScale, signed_scale
from ktb.analysis.describe import describe_attribution
from ktb.analysis.targets import Target, TargetKind
from ktb.analysis.types import Attribution
from ktb.utils.text import percent

LINE_COLOR, RIM_COLOR = (255, 255, 255), (24, 24, 28)
MUST_CLICK = '<p class="ktb-note">Click a pixel in one of the pictures first.</p>'


def attribution_panel(result: Result, found: Attribution, pixel: tuple[int, int], target: Target) -> Markup:
    """What a score reacts to in both sensors, beside what really happens when one is ablated.

    The target, as `target_at` gives it for the pixel of the fused mask, is outlined in both pictures.
    """
    maps = [found.rgb] if found.x_is_missing else [found.rgb, found.x]
    scale = signed_scale(maps)
    area = _area(result, target)
    views = (
        ("rgb", result.rgb, found.rgb, found.total_rgb, 1 - found.share_x, "RGB image"),
        ("x", result.prediction.x.preview, found.x, found.total_x, found.share_x, f"X: {result.x_name}"),
    )
    figures = [
        figure_tag(
            image_tag(
                _over(under, values, scale, area),
                f"{name} attribution",
                result.prediction.model,
                "ktb-view",
            ),
            f"{title}: {percent(share, 0)} of the sensitivity",
            f"input × gradient adds up to {total:+.2f}; {scale.describe_beyond(values)} the colours",
        )
        for name, under, values, total, share, title in views[: len(maps)]
    ]
    ablated = [
        {"name": name, "change": change, "value": found.value + change}
        for name, change in (("the RGB image", found.without_rgb), ("X", found.without_x))
        if not found.x_is_missing
    ]
    return render(
        "attribution",
        kind=target.kind,
        found=found,
        question=question(target.kind),
        named=_named(result, pixel, area),
        words=describe_attribution(found, "X"),
        figures=figures,
        bar=color_bar(
            scale.cmap, scale.low, scale.high, (f"{scale.low:.3f} against", "0", f"for {scale.high:.3f}")
        ),
        ablated=ablated,
        is_outlined=area is not None,
        rule=scale.rule,
        checkpoint=result.prediction.model,
    )


def question(kind: TargetKind) -> str:
    """What is asked about a pixel, its region or its class."""
    return f"What did this {kind} react to?"


def _area(result: Result, target: Target) -> np.ndarray | None:
    """Where a target lies in the fused mask, (H, W) bool; None for a pixel."""
    if target.kind == "class":
        return result.prediction.labels["fused"] == target.class_index
    return target.region


def _named(result: Result, pixel: tuple[int, int], area: np.ndarray | None) -> str:
    name = result.prediction.classes[result.prediction.labels["fused"][pixel]]
    if area is None:
        return f"{name} at {pixel}"
    return f"{name}, {area.sum():,} pixels, {percent(float(area.mean()), 0)} of the RGB image"


def _over(under: np.ndarray, values: np.ndarray, scale: ColorScale, area: np.ndarray | None) -> np.ndarray:
    """Signed values as colours over a grey picture: the stronger, the less of the picture shows through."""
    picture = display_size(under)
    grey = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2) * 0.45 + 255 * 0.5
    wide = cv2.resize(values.astype(np.float32), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    strength = np.clip(np.abs(wide) / max(scale.high, 1e-12), 0, 1)[..., None] ** 0.6
    drawn = (grey * (1 - strength) + scale.colors(wide) * strength).astype(np.uint8)
    return drawn if area is None else _outlined(drawn, area)


def _outlined(picture: np.ndarray, area: np.ndarray) -> np.ndarray:
    """A white line with a dark rim around an area (H, W) bool; it lies outside and hides nothing of it."""
    inside = display_size(area.astype(np.uint8), smooth=False)
    width = max(1, round(min(inside.shape) / 400))
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    line = cv2.dilate(inside, kernel)
    rim = cv2.dilate(line, kernel)
    picture[rim > inside] = RIM_COLOR
    picture[line > inside] = LINE_COLOR
    return picture
