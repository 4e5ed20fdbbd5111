"""Detection of X's modality: the user's choice, else by content, else by the file's name."""

import re

import numpy as np

from ktb.inputs.encoders.depth import is_colour
from ktb.inputs.options import XOptions
from ktb.inputs.types import RawX
from ktb.modalities import MODALITIES, Modality


def taken_for(raw: RawX, expected: Modality, options: XOptions) -> tuple[Modality, tuple[str, ...]]:
    """The modality of X, and a warning if it differs from the checkpoint's."""
    if options.modality != "auto":
        found, why = options.modality, "was given as"
    elif raw.recognized is not None:
        found, why = raw.recognized, "looks like"
    else:
        found, why = _appears(raw, expected), "looks like"
        named = _named(raw, expected)
        if found in (expected, "other") and named != expected:
            found, why = named, f"is, by its name {raw.name},"
    if found == "depth" and expected == "hha":
        found = "hha"  # its encoder computes HHA from depth
    if found == expected or expected == "other":
        return found, ()
    nouns = [MODALITIES[modality].noun for modality in (found, expected)]
    return found, (
        f"X {why} {nouns[0]}, but this checkpoint was trained with {nouns[1]}. It runs, but "
        "its results with this X are unreliable.",
    )


def _appears(raw: RawX, expected: Modality) -> Modality:
    """Modality of X by content: `expected` unless that is impossible."""
    if raw.kind in ("events", "counts"):
        return "event"
    if raw.kind == "angles":
        return expected if expected in ("dolp", "aolp") else "dolp"
    if raw.kind == "sin_cos":
        return "aolp"
    if raw.origin == "estimated":
        return "hha" if expected == "hha" else "depth"
    if expected == "depth" and is_colour(raw.data):
        return "other"
    if expected == "event" and not is_colour(raw.data) and raw.data.dtype != np.uint8:
        return "depth" if raw.data.dtype.kind == "f" or raw.data.dtype == np.uint16 else "other"
    return expected


def _named(raw: RawX, expected: Modality) -> Modality:
    """Modality by the words of the file's name; `expected` unless they clearly name another one.

    A grey thermal image looks like a depth image, but its file name often contains "thermal".
    """
    words = set(re.split(r"[^a-z]+", raw.name.lower()))
    said = {modality for modality, info in MODALITIES.items() if words & info.filename_words}
    if expected == "other" or expected in said or len(said) != 1 or raw.origin != "measured":
        return expected
    (found,) = said
    if raw.kind in ("angles", "sin_cos"):  # polarization, whatever light the name mentions
        return expected
    if found in ("hha", "event") and (raw.kind != "picture" or not is_colour(raw.data)):
        return expected
    return found
