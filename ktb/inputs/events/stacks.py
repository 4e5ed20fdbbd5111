"""Stacks of event histograms over time: counts per time bin and polarity, summed to one histogram."""

import numpy as np

from ktb.inputs.limits import InputError


def histogram_shape(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """(H, W, 2) for the shape of a stack, (T, 2, H, W) or (T, H, W, 2) with T above 1; None for another."""
    if len(shape) != 4 or shape[0] < 2:
        return None
    if shape[3] == 2:
        return shape[1:]
    return (*shape[2:], 2) if shape[1] == 2 else None


def summed(stack: np.ndarray, name: str) -> tuple[np.ndarray, str]:
    """Sum a stack over its time bins, whose order and equal length are assumed.

    Args:
        stack: (T, 2, H, W) or (T, H, W, 2), counts of events.

    Returns:
        The counts and the recency, (H, W, 3) float32: channels 0 and 1 as stored; channel 2 is the time of
        the pixel's last bin with an event in 0..1, with 0 at the start of the first bin and 1 at the end of
        the last, and 0 where there was no event. And a note on what was done.

    Raises:
        InputError: negative values, or scaled ones, whose sum has no meaning.
    """
    if stack.shape[3] != 2:
        stack = np.moveaxis(stack, 1, -1)
    bins, height, width, _ = stack.shape
    frame, largest, are_whole = np.zeros((height, width, 3), np.float64), 0.0, True
    for number, counts in enumerate(stack):
        counts = np.nan_to_num(counts.astype(np.float64), posinf=0, neginf=0)
        if counts.min() < 0:
            raise InputError(
                f"{name}: an array of shape {stack.shape} with negative values; a stack of event histograms "
                "holds counts, (T, 2, H, W)"
            )
        are_whole, largest = are_whole and not (counts % 1).any(), max(largest, counts.max())
        frame[..., :2] += counts
        frame[..., 2][counts.any(axis=-1)] = (number + 0.5) / bins
    if largest <= 1 and not are_whole:
        raise InputError(
            f"{name}: a stack of {bins} event histograms that are scaled to 0..1, so that their sum has no "
            "meaning; give the counts, or one histogram (H, W, 2)"
        )
    note = (
        f"The array holds event histograms of {bins} time bins. They were summed, and the recency is that of "
        "the last bin with an event; the bins are taken for equally long, the first one for the oldest."
    )
    return frame.astype(np.float32), note
