"""MFNet: RGB and thermal images of streets by day and by night, 9 classes."""

from pathlib import Path
from typing import ClassVar

from training.data.datasets.base import PairDataset
from training.data.datasets.sample import label_table

_TIMES = {"D": "day", "N": "night"}


class MFNet(PairDataset):
    """Labels are used as stored: 0 = unlabeled is a class, and nothing is ignored. Names end with D or N."""

    name = "mfnet"
    splits: ClassVar = ("train", "test")
    modalities: ClassVar = ("thermal",)
    published: ClassVar = {"test": 393}
    layout = (
        "ROOT/{rgb/NAME.png, ther/NAME.png (one channel, 8-bit), labels/NAME.png (0..8)}, "
        "ROOT/train.txt and ROOT/test.txt with one NAME a line, such as 00001D (day) or 01001N (night)."
    )
    labels_stored = label_table(9)

    def conditions(self, index: int) -> dict[str, str]:
        """{"time": "day" or "night"}, by the last letter of the name; empty for another letter."""
        time = _TIMES.get(self.names[index][-1:].upper())
        return {"time": time} if time else {}

    def _files(self, name: str) -> tuple[Path, ...]:
        return tuple(self.root / folder / f"{name}.png" for folder in ("rgb", "ther", "labels"))
