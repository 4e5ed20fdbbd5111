"""CamVid: street frames of 11 classes, with a thermal image that is simulated from the labels."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ktb.config import Modality
from training.data.datasets.base import PairDataset
from training.data.datasets.sample import LayoutError, Sample, label_table
from training.thermal.night import make_night
from training.thermal.simulator import PERCENTILES, simulate_thermal

NIGHTS = 0.3
"""Fraction of the drawn samples whose RGB image becomes a night."""


class CamVid(PairDataset):
    """Labels are used as stored, 255 is ignored. The dataset has no thermal camera: X is simulated.

    `[index]` has the RGB image as stored, and always the same X; `drawn` has another X each time, and often a
    night. Consecutive frames of a drive are alike, so val is no set of other streets.
    """

    name = "camvid"
    splits: ClassVar = ("train", "val")
    modalities: ClassVar = ("thermal",)
    published: ClassVar = {"train": 367, "val": 101}
    layout = (
        "ROOT/{RGB/NAME.jpg, Label/NAME.png (0..10, 255 = ignored)}, ROOT/train.txt and ROOT/val.txt with "
        "one NAME a line; no file of X."
    )
    labels_stored = label_table(11, ignored=[255])

    @classmethod
    def inputs_of(cls, modality: Modality) -> dict[str, Any]:
        """Thermal images of any depth are stretched as the simulated ones are."""
        return super().inputs_of(modality) | {"percentiles": PERCENTILES, "stretch_pictures": True}

    def drawn(self, index: int, rng: np.random.Generator) -> Sample:
        """The sample with a new thermal image and, in a fraction `NIGHTS` of the cases, a night."""
        stored = self[index]
        modal_x = simulate_thermal(stored.rgb, stored.label, rng)
        dark = rng.random() < NIGHTS
        rgb = make_night(stored.rgb, stored.label, rng) if dark else stored.rgb
        return Sample(stored.name, rgb, modal_x, stored.label)

    def examine(self, index: int) -> tuple[Sample | None, list[LayoutError]]:
        """As in the base class, with X simulated by a generator that is seeded by the index."""
        rgb_file, label_file = self.files(index)
        problems = []
        try:
            rgb = self._read_rgb(rgb_file)
        except LayoutError as error:
            problems.append(error)
        try:
            label = self._read_label(label_file)
        except LayoutError as error:
            problems.append(error)
        if problems:
            return None, problems
        if label.shape != rgb.shape[:2]:
            sizes = " and ".join(f"{image.shape[1]} x {image.shape[0]}" for image in (label, rgb))
            return None, [self._error(label_file, f"the sizes of label and RGB image differ: {sizes}")]
        modal_x = simulate_thermal(rgb, label, np.random.default_rng(index))
        return Sample(self.names[index], rgb, modal_x, label), []

    def _files(self, name: str) -> tuple[Path, ...]:
        return self.root / "RGB" / f"{name}.jpg", self.root / "Label" / f"{name}.png"
