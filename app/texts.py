"""What the page calls X: words that follow what a checkpoint takes."""

from __future__ import annotations

from ktb.config import InputConfig
from ktb.inputs.types import Origin
from ktb.modalities import MODALITIES, Modality

ANY_X = InputConfig(modality="other", encoding="image")
"""Inputs in the place of a model's where the model is chosen by X."""


def x_name(inputs: InputConfig) -> str:
    """A noun for X, such as "depth image"."""
    return MODALITIES[inputs.modality].image


def x_called(modality: Modality, origin: Origin) -> str:
    """What X of a result is called: what it was taken for, and whether it was measured."""
    if origin == "missing":
        return "none"
    return f"ESTIMATED {MODALITIES[modality].image}" if origin == "estimated" else MODALITIES[modality].image


def x_label(inputs: InputConfig) -> str:
    """The label of the place where X is put."""
    return "X: the other sensor's image" if inputs.modality == "other" else f"X: its {x_name(inputs)}"


def x_hint(inputs: InputConfig) -> str:
    """Which files are taken as X."""
    if inputs is ANY_X:
        return "Depth, thermal, events or another sensor's image: what it is decides which checkpoint runs."
    if inputs.encoding == "depth":
        return "Depth as 16-bit PNG or TIFF, .npy, .npz or .exr; read at full precision."
    hint = MODALITIES[inputs.modality].hint
    return hint or f"The {x_name(inputs)} as 8- or 16-bit picture, or as .npy or .npz with values in 0 to 1."


def modality_choices(inputs: InputConfig) -> list[tuple[str, str]]:
    """What a user may say that X is; "auto" first."""
    return [("find out (automatic)", "auto"), *((info.label, name) for name, info in MODALITIES.items())]


def head(inputs: InputConfig) -> str:
    """The page's title, and what goes in and comes out."""
    return f"""<h1>Which sensor decided: <span class="rgb">RGB</span> or <span class="x">X</span>?</h1>
<p>Segment an RGB image and its {x_name(inputs)}, then click any pixel. After <i>Keep the Balance</i>
(CVPR 2025).</p>"""


def no_x(inputs: InputConfig) -> str:
    """What stands in the details of X before there is one."""
    return f"""<p class="ktb-note">No {x_name(inputs)} was read yet.</p>"""


def x_missing(inputs: InputConfig) -> str:
    """The message of a run that lacks X, with the ways out."""
    return (
        f"the X image is missing. Upload the {x_name(inputs)} that belongs to the RGB image, or press "
        "“Run on the RGB image alone”."
    )
