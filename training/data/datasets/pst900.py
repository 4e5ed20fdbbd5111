"""PST900: RGB and thermal images of search and rescue underground, 5 classes."""

from pathlib import Path
from typing import ClassVar

from training.data.datasets.base import PairDataset
from training.data.datasets.sample import label_table


class PST900(PairDataset):
    """Labels are used as stored, and nothing is ignored. Each split is a folder."""

    name = "pst900"
    splits: ClassVar = ("train", "test")
    modalities: ClassVar = ("thermal",)
    published: ClassVar = {"train": 597, "test": 288}
    layout = (
        "ROOT/{train, test}/{rgb/NAME.png, thermal/NAME.png (one channel, 8-bit), labels/NAME.png (0..4)}."
    )
    labels_stored = label_table(5)

    def _list_names(self) -> list[str]:
        return [path.stem for path in self._list_folder(self.root / self.split / "rgb", "*.png")]

    def _files(self, name: str) -> tuple[Path, ...]:
        folder = self.root / self.split
        return tuple(folder / part / f"{name}.png" for part in ("rgb", "thermal", "labels"))
