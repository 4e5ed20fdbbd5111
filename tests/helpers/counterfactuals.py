"""Settings of the what-if tab."""

from __future__ import annotations

import dataclasses

import numpy as np

from ktb.config import BRANCHES


def labelled(prediction, fused, classes=None, confidence=0.5, **others):
    """The prediction with a (H, W) fused map; the branches' maps are equal unless given."""
    labels = {branch: np.array(others.get(branch, fused), np.uint8) for branch in BRANCHES}
    confidences = {branch: np.full(labels[branch].shape, confidence, np.float32) for branch in BRANCHES}
    return dataclasses.replace(
        prediction, labels=labels, confidences=confidences, classes=classes or prediction.classes
    )


def toast(tab, message: str) -> None:
    """Wait for a toast with this message and close all toasts."""
    tab.wait_for_selector(f".toast-body >> text={message}")
    for close in tab.locator(".toast-close").all():
        close.click()


def set_number(tab, selector: str, value: str) -> None:
    """Type into a number field and leave it."""
    tab.fill(f"{selector} input[type=number]", value)
    tab.press(f"{selector} input[type=number]", "Tab")
