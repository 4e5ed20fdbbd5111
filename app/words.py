"""What the page calls X: words that follow what a checkpoint takes."""

from __future__ import annotations

from ktb.config import InputConfig

_NAMES = {
    "depth": "depth image",
    "hha": "HHA image",
    "thermal": "thermal image",
    "event": "event frame",
    "nir": "near-infrared image",
    "dolp": "image of the degree of polarization",
    "aolp": "image of the angle of polarization",
    "lidar": "LiDAR image",
    "other": "X image",
}
_CHANNELS = {
    "hha": "HHA as 8-bit colour PNG: disparity, height, angle.",
    "event": "Events as 8-bit colour PNG: positive events, negative events, recency.",
}


def x_name(inputs: InputConfig) -> str:
    """A noun for X, such as "depth image"."""
    return _NAMES[inputs.modality]


def x_label(inputs: InputConfig) -> str:
    """The label of the place where X is put."""
    return "X: the other sensor's image" if inputs.modality == "other" else f"X: its {x_name(inputs)}"


def x_hint(inputs: InputConfig) -> str:
    """Which files are taken as X."""
    if inputs.encoding == "depth":
        return "Depth as 16-bit PNG or TIFF, .npy or .npz; nothing is lost on the way in."
    found = _CHANNELS.get(inputs.modality)
    return found or f"The {x_name(inputs)} as 8- or 16-bit picture, or as .npy or .npz with values in 0 to 1."


def head(inputs: InputConfig) -> str:
    """The page's title, and what goes in and comes out."""
    return f"""<h1>KTB: see how <span class="rgb">RGB</span> and <span class="x">X</span> are combined</h1>
<p>A photograph and its {x_name(inputs)} go in; a mask comes out, with what each sensor's own head says and
where the network's sparse fusion looked. After <i>Keep the Balance</i> (CVPR 2025).</p>"""


def no_result(inputs: InputConfig, has_examples: bool) -> str:
    """What stands in place of a result before the first run."""
    example = "Click an example, or upload" if has_examples else "Upload"
    return f"""<div class="ktb-empty"><b>No result yet</b>
<span>{example} a photograph and its {x_name(inputs)} and press <i>Run</i>.</span></div>"""
