"""SUN RGB-D: 37 classes, 5285 training and 5050 test frames."""

from pathlib import Path
from typing import ClassVar

from training.data.datasets.base import PairDataset
from training.data.datasets.sample import label_table


class SUNRGBD(PairDataset):
    """X is plain depth. Stored labels: 0 = void, k = class k-1.

    8-bit depth is used as stored. 16-bit depth is scaled by 255 / 65535, as an 8-bit reader does, and not
    converted to metres: the released recipe uses the stored image.
    """

    name = "sunrgbd"
    splits: ClassVar = ("train", "test")
    modalities: ClassVar = ("depth",)
    published: ClassVar = {"train": 5285, "test": 5050}
    layout = (
        "ROOT/{RGB/NAME.jpg, Depth/NAME.png (one channel, 8- or 16-bit), labels/NAME.png (0 = ignored, "
        "1..37)}, ROOT/train.txt and ROOT/test.txt with one NAME or 'RGB/NAME.jpg labels/NAME.png' a line."
    )
    labels_stored = label_table(37, first=1, ignored=[0])
    sixteen_bit: ClassVar = frozenset({"depth"})

    def _files(self, name: str) -> tuple[Path, ...]:
        return (
            self.root / "RGB" / f"{name}.jpg",
            self.root / "Depth" / f"{name}.png",
            self.root / "labels" / f"{name}.png",
        )
