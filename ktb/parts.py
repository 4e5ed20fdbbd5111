"""The parts of a network by its tensors' names, and how many parameters each has."""

from __future__ import annotations

from ktb.model import KTB

# The first that fits; "backbone" is what never trains: the frozen stages and the output norms.
_PREFIXES = {
    "backbone.patch_embed_x.": "x embedding",
    "backbone.": "backbone",
    "norms.": "backbone",
    "mapa.": "prompts",
    "dscf.": "fusion",
    "heads.": "heads",
}
PARTS = ("backbone", "x embedding", "adapters", "prompts", "fusion", "heads")


def part_of(name: str) -> str:
    """The one of `PARTS` that a parameter or buffer of `KTB.state_dict()` belongs to."""
    if name.startswith("backbone.") and ".adapters." in name:
        return "adapters"
    parts = [part for prefix, part in _PREFIXES.items() if name.startswith(prefix)]
    assert parts, f"{name} belongs to no part"
    return parts[0]


def count_parameters(model: KTB) -> dict[str, tuple[int, int]]:
    """Parameters per part, (total, trainable); (0, 0) for a part that the configuration leaves out."""
    counts = {part: (0, 0) for part in PARTS}
    for name, parameter in model.named_parameters():
        total, trainable = counts[part_of(name)]
        size = parameter.numel()
        counts[part_of(name)] = (total + size, trainable + size * parameter.requires_grad)
    return counts
