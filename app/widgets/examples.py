"""The example pairs of the page: the project's, or those of a custom dataset's YAML file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import Image

from ktb.config import Modality, ModelConfig
from ktb.datasets.custom import CustomDataset, CustomPair
from ktb.inputs import AUTO, XOptions, read_rgb
from ktb.inputs.units import unit_name
from ktb.utils.files import shipped

EXAMPLES_FOLDER = shipped("examples")
MAX_OWN_PAIRS = 8
TILE_SIDE = 400  # pixels of the tile of a custom pair
T = TypeVar("T")


class Example(NamedTuple):
    """The files of one pair, and its displayed name."""

    rgb: Path
    x: Path
    name: str


class Offer(NamedTuple):
    """Pairs on offer: their title, files, tiles, and how their X is read."""

    title: str
    pairs: list[Example]
    tiles: list[Path]
    options: XOptions = AUTO


def examples(modality: Modality = "depth") -> list[Example]:
    """Every pair SCENE_rgb.png, SCENE_MODALITY.png that ships with the project, by name."""
    pairs = []
    for rgb in sorted(EXAMPLES_FOLDER.glob("*_rgb.png")):
        scene = rgb.name.removesuffix("_rgb.png")
        x = rgb.with_name(f"{scene}_{modality}.png")
        if x.is_file():
            pairs.append(Example(rgb, x, scene.replace("_", " ").capitalize()))
    return pairs


class CustomExamples:
    """The first pairs of a split of a custom dataset (`ktb.datasets.custom`), read once at the start, in the
    same way as in training.

    Args:
        file: the YAML file.
        split: by default "test" if the file has it, else its first one.

    Attributes: `data` (CustomDataset), `offer` (Offer). The tiles' temporary folder is deleted with the
        object.

    Raises ValueError that names the YAML file for a mistake in it, a missing file, or an unreadable pair.
    """

    def __init__(self, file: str | Path, split: str | None = None):
        self.data = CustomDataset(file)
        split = split or ("test" if "test" in self.data.splits else self.data.splits[0])
        found = self.data.pairs(split)
        options = self.data.x_options
        self._folder = tempfile.TemporaryDirectory(prefix="ktb-tiles-")
        # Resolved: links to files are served only by the file's own path.
        pairs = [Example(p.rgb.resolve(), p.x.resolve(), p.name) for p in found[:MAX_OWN_PAIRS]]
        tiles = [self._tile(pair, Path(self._folder.name)) for pair in found[:MAX_OWN_PAIRS]]
        shown = f"{len(pairs)} of {len(found)}" if len(pairs) < len(found) else str(len(found))
        title = f"{self.data.name}: {shown} pair{'s' * (len(found) > 1)} of {split}"
        self.offer = Offer(title, pairs, tiles, options)

    @property
    def files(self) -> list[Path]:
        """The files that visitors may fetch: the offered pairs and their tiles."""
        return [*(path for pair in self.offer.pairs for path in pair[:2]), *self.offer.tiles]

    def differences(self, config: ModelConfig) -> list[str]:
        """A sentence for each mismatch between a model and the dataset."""
        file, inputs, given = self.data.file.name, config.inputs, self.data.input_config
        found = _other_classes(config.classes, self.data.labels.classes, file)
        if inputs.modality != given["modality"]:
            found.append(f"This model takes X for {inputs.modality}, {file} says {given['modality']}.")
        elif inputs.encoding != given["encoding"]:
            kinds = {"depth": "depth in metres", "image": "an image"}
            found.append(
                f"This model takes X as {kinds[inputs.encoding]}, {file} as {kinds[str(given['encoding'])]}."
            )
        elif inputs.encoding == "depth" and inputs.max_metres != given["max_metres"]:
            found.append(
                f"This model clips depth at {inputs.max_metres:g} m, {file} at {given['max_metres']:g} m."
            )
        unit = self.data.unit
        if "auto" not in (unit, inputs.unit) and unit != inputs.unit and inputs.modality == given["modality"]:
            trained, here = unit_name(inputs.modality, inputs.unit), unit_name(inputs.modality, unit)
            found.append(f"This model was trained with X in {trained}, {file} has it in {here}.")
        return found

    def _tile(self, pair: CustomPair, folder: Path) -> Path:
        """Write a small copy of the RGB image that every browser shows; also reads X, to check it."""
        photo = self._checked(pair.rgb, lambda: read_rgb(pair.rgb))
        rgb = photo.pixels
        self._checked(pair.x, lambda: self.data.encode_x(self.data.read_x(pair.x), photo))
        picture = Image.fromarray(rgb)
        picture.thumbnail((TILE_SIDE, TILE_SIDE))
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".jpg", delete=False) as file:
            picture.save(file, format="jpeg", quality=88)
        return Path(file.name)

    def _checked(self, path: Path, read: Callable[[], T]) -> T:
        try:
            return read()
        except (ValueError, OSError) as error:
            said = str(error).removeprefix(f"{path.name}: ")
            raise ValueError(f"{self.data.file}: {path}: {said}") from error


def is_offered(path: str | Path, own: CustomExamples | None) -> bool:
    """Whether a file belongs to the pairs on offer: the project's, or those of a custom dataset."""
    file = Path(path).resolve()
    return file in own.files if own else file.is_relative_to(EXAMPLES_FOLDER.resolve())


def _other_classes(predicted: tuple[str, ...], named: tuple[str, ...], file: str) -> list[str]:
    """At most one sentence, which names classes that only one side has."""
    if predicted == named:
        return []
    lacking, extra = (tuple(c for c in a if c not in b) for a, b in ((named, predicted), (predicted, named)))
    if not lacking and not extra:
        return [f"This model predicts the classes that {file} names, but in another order."]
    which = f"not {_some(lacking)}" if lacking else f"also {_some(extra)}"
    return [f"This model predicts other classes than {file} names: {which}."]


def _some(classes: tuple[str, ...]) -> str:
    """The first three names, and the number of the others."""
    more = f" and {len(classes) - 3} more" if len(classes) > 3 else ""
    return ", ".join(classes[:3]) + more
