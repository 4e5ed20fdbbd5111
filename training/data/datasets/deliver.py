"""DELIVER: simulated streets in five kinds of weather with sensor failures, 25 classes."""

import re
from pathlib import Path
from typing import ClassVar

import numpy as np

from ktb.inputs import InputError, place
from training.data.datasets.base import PairDataset
from training.data.datasets.sample import label_table

WEATHERS = ("cloud", "fog", "night", "rain", "sun")
CASES = {
    "motionblur": "mb",
    "overexposure": "oe",
    "underexposure": "ue",
    "lidarjitter": "lj",
    "eventlowres": "el",
}
# The folder of each X, and the word that replaces "rgb" in its file names.
_X = {
    "event": ("event", "event"),
    "depth": ("depth", "depth"),
    "hha": ("hha", "depth"),
    "lidar": ("lidar", "lidar"),
}


class DELIVER(PairDataset):
    """Stored labels, in channel 0 (red): 0 and 255 are ignored, k = class k-1. Published scores are on `val`.

    Event frames are resized to the RGB size by nearest neighbour, as in `ktb.inputs.place`. 16-bit depth is
    scaled by 255 / 65535.
    """

    name = "deliver"
    splits: ClassVar = ("train", "val", "test")
    modalities: ClassVar = ("event", "depth", "hha", "lidar")
    published: ClassVar = {"train": 3983, "val": 2005, "test": 1897}
    layout = (
        "ROOT/{img,event,depth,hha,lidar,semantic}/{cloud,fog,night,rain,sun}/{train,val,test}/SCENE/*.png; "
        "the partner of img/.../000001_rgb_front.png has the same path with another folder for 'img' and "
        "'_event', '_depth' (depth and hha), '_lidar' or '_semantic' for '_rgb'; labels in channel 0: "
        "0 and 255 = ignored, 1..25."
    )
    labels_stored = label_table(25, first=1, ignored=[0, 255])
    grey: ClassVar = frozenset()  # depth and lidar may have one channel or three
    sixteen_bit: ClassVar = frozenset({"depth"})

    def conditions(self, index: int) -> dict[str, str]:
        """{"weather": the weather folder} and, if the scene's or the file's name contains one, {"case": ...}.

        The rule for cases (`corruption_case`) has been tested only with generated files.
        """
        weather, *_, scene, file = self.names[index].split("/")
        case = corruption_case(scene) or corruption_case(file)
        return {"weather": weather} | ({"case": case} if case else {})

    def _list_names(self) -> list[str]:
        """Such as "night/val/SCENE/000001_rgb_front", in order."""
        images = self.root / "img"
        found = []
        for weather in WEATHERS:
            if (images / weather / self.split).is_dir():
                found += self._list_folder(images / weather / self.split, "*/*.png")
        if not found:
            where = images / WEATHERS[0] / self.split
            raise self._error(where, f"no weather folder has the split '{self.split}', expected SCENE/*.png")
        for path in found:
            if "_rgb" not in path.name:
                raise self._error(path, "expected '_rgb' in the file's name")
        return [path.relative_to(images).with_suffix("").as_posix() for path in found]

    def _files(self, name: str) -> tuple[Path, ...]:
        folder, file = name.rsplit("/", 1)
        parts = (("img", "rgb"), _X[self.modality], ("semantic", "semantic"))
        return tuple(
            self.root / top / folder / (file.replace("_rgb", f"_{word}") + ".png") for top, word in parts
        )

    def _stored_label(self, path: Path) -> np.ndarray:
        stored = super()._stored_label(path)
        return stored[..., 0] if stored.ndim == 3 else stored

    def _fit_x(self, modal_x: np.ndarray, path: Path, size_hw: tuple[int, int]) -> np.ndarray:
        if self.modality != "event":
            return modal_x
        try:
            return place(modal_x, size_hw, "nearest")
        except InputError as error:
            raise self._error(path, str(error)) from error


def corruption_case(text: str) -> str | None:
    """The key of CASES in a scene's or file's name, or None.

    A full word is found at any position, with any separator ("MAP_1_Motion-Blur", "point102motionblur"). An
    abbreviation is found only as a separate word ("MAP_1_MB").
    """
    words = re.split(r"[^a-z0-9]+", text.lower())
    joined = "".join(words)
    for case, abbreviation in CASES.items():
        if case in joined or abbreviation in words:
            return case
    return None
