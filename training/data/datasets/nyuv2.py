"""NYU Depth V2: 40 classes, 795 training and 654 test frames."""

from pathlib import Path
from typing import Any, ClassVar

from ktb.config import Modality
from ktb.modalities import NEAR_DARK
from training.data.datasets.base import PairDataset
from training.data.datasets.sample import label_table

_X = {"depth": ("Depth", "png"), "hha": ("HHA", "jpg"), "event": ("Event", "png")}


class NYUv2(PairDataset):
    """Stored labels: 0 = void, k = class k-1. Depth: 8-bit, in-filled, 255 = 10 m.

    `python -m training.simulate_events` creates event frames; the dataset itself has none.
    """

    name = "nyuv2"
    splits: ClassVar = ("train", "test")
    modalities: ClassVar = ("depth", "hha", "event")
    published: ClassVar = {"train": 795, "test": 654}
    layout = (
        "ROOT/{RGB/NAME.jpg, Label/NAME.png (0 = ignored, 1..40)} and, as X, ROOT/{Depth/NAME.png (8-bit, "
        "255 = 10 m) or HHA/NAME.jpg (3 channels) or Event/NAME.png (3 channels)}, "
        "ROOT/train.txt and ROOT/test.txt with one NAME a line."
    )
    labels_stored = label_table(40, first=1, ignored=[0])

    @classmethod
    def inputs_of(cls, modality: Modality) -> dict[str, Any]:
        """Depth in metres / 10 (see `ktb.inputs.encode_depth`); HHA and event frames are images."""
        depth = {"encoding": "depth", "unit": NEAR_DARK, "stored": "8-bit"} if modality == "depth" else {}
        return super().inputs_of(modality) | depth | {"max_metres": 10.0}

    def _files(self, name: str) -> tuple[Path, ...]:
        folder, suffix = _X[self.modality]
        return (
            self.root / "RGB" / f"{name}.jpg",
            self.root / folder / f"{name}.{suffix}",
            self.root / "Label" / f"{name}.png",
        )
