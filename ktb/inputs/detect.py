"""What an X input is taken for: what the user says, else what it can only be, else what its name says."""

import re

import numpy as np

from ktb.inputs.encoders.depth import is_colour
from ktb.inputs.options import XOptions
from ktb.inputs.types import RawX
from ktb.modalities import MODALITIES, Modality


def taken_for(raw: RawX, expected: Modality, options: XOptions) -> tuple[Modality, tuple[str, ...]]:
    """What X is taken for, and a warning if that is not what the checkpoint was trained on."""
    if options.modality != "auto":
        found, why = options.modality, "was said to be"
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
        "what it makes of this X was never trained: trust the RGB head more.",
    )


def _appears(raw: RawX, expected: Modality) -> Modality:
    """What X is by its contents: `expected` unless that is impossible."""
    if raw.kind == "events":
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
    """What the words of the file's name say, `expected` unless they plainly name something else.

    A grey picture of heat looks like one of depth to a program, and people put "thermal" into its name.
    """
    words = set(re.split(r"[^a-z]+", raw.name.lower()))
    said = {modality for modality, info in MODALITIES.items() if words & info.filename_words}
    if expected == "other" or expected in said or len(said) != 1 or raw.origin != "measured":
        return expected
    (found,) = said
    if raw.kind in ("angles", "sin_cos"):  # can only be polarization, of whatever light the name speaks of
        return expected
    if found in ("hha", "event") and (raw.kind != "picture" or not is_colour(raw.data)):
        return expected
    return found
