"""The channel of an image that is X, where it has several."""

from dataclasses import replace

import numpy as np

from ktb.inputs.encoders.depth import is_colour
from ktb.inputs.limits import InputError
from ktb.inputs.options import XOptions
from ktb.inputs.types import RawX, is_array
from ktb.modalities import Modality

ONE_CHANNEL: frozenset[Modality] = frozenset(("depth", "thermal", "nir", "dolp", "aolp", "lidar"))
"""Modalities of which X is one measurement per pixel."""
_POLARIZED = ("dolp", "aolp")
_NEITHER = 0.05  # of the pixels are neither transparent nor opaque: more than the soft edges of a cut-out
_ENOUGH = 1_000_000
_STEP = 2  # of the pixels that are compared
_MISFIT = 0.03


def fourth_is_image(data: np.ndarray) -> bool:
    """Whether the fourth channel of (H, W, 4) holds an image, as in RGB-T and RGB-NIR files.

    A transparency is constant, or nearly everywhere 0 or full; NaN aside.
    """
    fourth = data[..., 3].ravel()
    fourth = fourth[:: max(1, fourth.size // _ENOUGH)]
    full = 1 if data.dtype.kind == "f" else np.iinfo(data.dtype).max
    low, high = fourth.min(), fourth.max()
    return bool(low < high and np.mean((fourth != 0) & (fourth != full)) > _NEITHER)


def _are_polarizers(data: np.ndarray) -> bool:
    """Whether four channels are intensities at 0, 45, 90 and 135 degrees: I0 + I90 = I45 + I135."""
    first, second, third, fourth = np.moveaxis(data[::_STEP, ::_STEP].astype(np.float64), -1, 0)
    total = first + second + third + fourth
    return bool(np.abs(first + third - second - fourth).mean() < _MISFIT * total.mean())


def choose_channel(raw: RawX, modality: Modality, options: XOptions) -> RawX:
    """A raw X with the channel that the user chose, or else the fourth one if that alone can be X.

    Args:
        modality: of the checkpoint, or as the user says.

    Raises:
        InputError: there is no such channel.
    """
    if raw.kind != "picture" or options.channel == "auto":
        return _chosen_automatically(raw, modality)
    count = raw.data.shape[2] if raw.data.ndim == 3 else 1
    if options.channel == "colour":
        return replace(raw, data=np.ascontiguousarray(raw.data[..., :3])) if count == 4 else raw
    number = int(options.channel)
    if number > count:
        has = "one channel" if count == 1 else f"{count} channels"
        raise InputError(f"{raw.name}: has {has}, no channel {number}; choose another one, or auto")
    plane = raw.data if count == 1 else np.ascontiguousarray(raw.data[..., number - 1])
    return replace(raw, data=plane, facts={**raw.facts, "channel": f"{number} of {count} (certain)"})


def _chosen_automatically(raw: RawX, modality: Modality) -> RawX:
    if raw.kind != "picture" or raw.data.ndim != 3 or raw.data.shape[2] != 4:
        return raw
    if (modality in _POLARIZED and is_array(raw)) or not fourth_is_image(raw.data):
        return raw
    if modality in _POLARIZED and _are_polarizers(raw.data):
        note = (
            "The four channels were taken for the polarizer's angles 0, 45, 90 and 135 degrees, as their "
            "sums agree."
        )
        return replace(raw, kind="angles", notes=(*raw.notes, note))
    say = "Channel on the page, --channel on the command line"
    if modality in ONE_CHANNEL and is_colour(raw.data):
        note = (
            "The file has colours and a fourth channel that varies, which is no transparency: the fourth "
            f"channel was taken as X. Say colour if X is in the colours ({say})."
        )
        fourth = np.ascontiguousarray(raw.data[..., 3])
        facts = {**raw.facts, "channel": "4 of 4 (likely)"}
        return replace(raw, data=fourth, facts=facts, notes=(*raw.notes, note))
    note = (
        "The file has a fourth channel that varies, which is no transparency: it was left out. Say 4 to take "
        f"it as X ({say})."
    )
    return replace(raw, data=np.ascontiguousarray(raw.data[..., :3]), notes=(*raw.notes, note))
