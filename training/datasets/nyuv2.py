"""NYU Depth V2 with 8-bit depth: 40 classes, 795 training frames."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from training.datasets.base import IGNORE_INDEX, PairDataset


class NYUv2(PairDataset):
    """RGB, 8-bit in-filled depth (255 = 10 m) and labels stored as 0 = void, k = class k-1."""

    name = "nyuv2"
    splits: ClassVar = {"train": "train.txt", "test": "test.txt"}
    layout = (
        "ROOT/{RGB/NAME.jpg, Depth/NAME.png (8-bit, 255 = 10 m), Label/NAME.png (0 = ignored, 1..40)}, "
        "ROOT/train.txt and ROOT/test.txt with one NAME a line."
    )
    label_table = np.full(256, -1, np.int16)
    label_table[0] = IGNORE_INDEX
    label_table[1:41] = np.arange(40)

    def paths(self, name: str) -> tuple[Path, Path, Path]:
        """The rgb, depth and label files of a sample."""
        return (
            self.root / "RGB" / f"{name}.jpg",
            self.root / "Depth" / f"{name}.png",
            self.root / "Label" / f"{name}.png",
        )
