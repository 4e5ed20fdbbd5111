"""The parts of a network by its tensors' names, and how many parameters each has."""

from __future__ import annotations

from ktb.modeling.model import KTB

PARTS = ("backbone", "x embedding", "adapters", "prompts", "fusion", "heads")
_OUTSIDE_THE_BACKBONE = {"norms": "backbone", "mapa": "prompts", "dscf": "fusion", "heads": "heads"}


def parameter_group(name: str) -> str:
    """The one of `PARTS` that a parameter or buffer of `KTB.state_dict()` belongs to.

    "backbone" is all that never trains: the pretrained network and the output norms.
    """
    if is_pretrained(name):
        return "backbone"
    if name.startswith("backbone."):
        return "adapters" if ".adapters." in name else "x embedding"
    return _OUTSIDE_THE_BACKBONE[name.split(".")[0]]


def is_pretrained(name: str) -> bool:
    """Whether a tensor is one of the pretrained network's, which models on the same backbone share."""
    ours = ".adapters." in name or name.startswith("backbone.patch_embed_x.")
    return name.startswith("backbone.") and not ours


def count_parameters(model: KTB) -> dict[str, tuple[int, int]]:
    """Parameters per part, (total, trainable); (0, 0) for a part that the configuration leaves out."""
    counts = {part: (0, 0) for part in PARTS}
    for name, parameter in model.named_parameters():
        total, trainable = counts[parameter_group(name)]
        size = parameter.numel()
        counts[parameter_group(name)] = (total + size, trainable + size * parameter.requires_grad)
    return counts
