"""Class names and colours of the six benchmarks and of CamVid, and colours for any other number of classes.

The class order is that of the released heads (reference: training page, section 1). The colours are the
project's own, not a dataset's official table: large surfaces (wall, floor, ceiling, road) are muted, objects
are vivid, and any two classes of a dataset are at least 17 apart in CIELAB (CIE76). No class is within 25
of the blue of RGB or the orange of X, which mean the sensors wherever a result is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np

RGB = tuple[int, int, int]

IGNORE_INDEX = 255
"""Label of pixels excluded from metrics."""
MAX_DISTINCT_COLORS = 256
MAX_GENERIC_CLASSES = 255  # labels are uint8 and 255 means "ignore"


@dataclass(frozen=True)
class DatasetLabels:
    """Names and colours of the classes a head predicts, in the order of its channels.

    Attributes:
        name: key, such as "nyuv2".
        title: name for display, such as "NYU Depth V2".
        classes: K class names, all different.
        palette: K colours (red, green, blue), 0..255, all different.
        first_stored: value of the first class in the dataset's own label files; with 1, 0 is not labelled.

    Raises:
        ValueError: names and colours differ in number or repeat, or a colour is out of range.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    first_stored: int = 0

    def __post_init__(self) -> None:
        if not self.classes or len(self.classes) != len(self.palette):
            raise ValueError(
                f"{self.name}: {len(self.classes)} class names and {len(self.palette)} colours; "
                "give one colour for each of at least one class"
            )
        for what, values in (("class name", self.classes), ("colour", self.palette)):
            repeated = sorted({str(v) for v in values if values.count(v) > 1})
            if repeated:
                raise ValueError(f"{self.name}: {what} {repeated[0]} is used twice; make them all different")
        for color in self.palette:
            if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
                raise ValueError(f"{self.name}: colour {color} is not three numbers (R, G, B) in 0..255")

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)


def distinct_palette(n: int) -> tuple[RGB, ...]:
    """n distinguishable colours (red, green, blue; 0..255), the same at every call.

    Farthest point sampling in CIELAB, so the first k of n colours equal ``distinct_palette(k)``. Nearly
    black, nearly white and neon colours are left out.

    Raises:
        ValueError: n is not in 0..256.
    """
    if not 0 <= n <= MAX_DISTINCT_COLORS:
        raise ValueError(f"n = {n} colours: choose 0..{MAX_DISTINCT_COLORS}, more cannot be told apart")
    levels = np.arange(15, 256, 15)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = cv2.cvtColor((grid / 255).astype(np.float32)[None], cv2.COLOR_RGB2Lab)[0]  # (N, 3)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    keep = (lab[:, 0] > 28) & (lab[:, 0] < 92) & (chroma > 12) & (chroma < 92)
    # Rounding makes ties exact, so that argmax does not depend on the last bit of a cv2 version.
    grid, lab = grid[keep], np.round(lab[keep].astype(np.float64), 1)

    chosen: list[int] = []
    distance = np.linalg.norm(lab - (55.0, 10.0, -70.0), axis=1)  # start far from blue: with a warm colour
    for _ in range(n):
        chosen.append(int(distance.argmax()))
        to_last = np.linalg.norm(lab - lab[chosen[-1]], axis=1)
        distance = to_last if len(chosen) == 1 else np.minimum(distance, to_last)
    return tuple((int(r), int(g), int(b)) for r, g, b in grid[chosen])


def generic_labels(num_classes: int) -> DatasetLabels:
    """Labels "class 0", "class 1", ... for a head with unnamed classes.

    Raises:
        ValueError: num_classes is not in 1..255.
    """
    if not 1 <= num_classes <= MAX_GENERIC_CLASSES:
        raise ValueError(f"num_classes = {num_classes}: choose 1..{MAX_GENERIC_CLASSES} (255 means ignore)")
    return DatasetLabels(
        name="generic",
        title=f"{num_classes} unnamed classes",
        classes=tuple(f"class {i}" for i in range(num_classes)),
        palette=distinct_palette(num_classes),
    )


def _dataset(name: str, title: str, table: str, first_stored: int = 0) -> DatasetLabels:
    """Parse "class=#rrggbb, class=#rrggbb, ..."; the order is the class index."""
    pairs = [item.strip().split("=#") for item in table.split(",")]
    palette = tuple((int(h[0:2], 16), int(h[2:4], 16), int(h[4:6], 16)) for _, h in pairs)
    return DatasetLabels(name, title, tuple(class_name for class_name, _ in pairs), palette, first_stored)


_SUNRGBD = """
wall=#9fb3cd, floor=#e3cfa4, cabinet=#8a6636, bed=#e5383b, chair=#ffb000, sofa=#8b3fd1, table=#1f9e5a,
door=#5c2e22, window=#63c5f2, bookshelf=#2f4fc4, picture=#e81ee0, counter=#7ea33a, blinds=#607e9c,
desk=#0d7f7a, shelves=#1a1f8f, curtain=#c79bf0, dresser=#b8728e, pillow=#ffa596, mirror=#9fe8dc,
floor mat=#a88a12, clothes=#b8057c, ceiling=#f4f1e6, books=#b5c900, refrigerator=#4fb79a,
television=#2c3560, paper=#d4f06a, towel=#7e84fc, shower curtain=#641c6b, box=#e3b04f,
whiteboard=#bcc6ff, person=#ff66b3, night stand=#8e103a, toilet=#a8f0a0, sink=#14cfe0, lamp=#fff04a,
bathtub=#3cc43a, bag=#566410
"""
_NYUV2 = _SUNRGBD + ", other structure=#454d57, other furniture=#a8937c, other prop=#7c7c7c"
_MFNET = """
unlabeled=#2b3038, car=#2f6bff, person=#ff66b3, bike=#2fb457, curve=#14cfe0, car_stop=#ffb000,
guardrail=#8b3fd1, color_cone=#e5383b, bump=#d4f06a
"""
_PST900 = """
background=#2b3038, fire extinguisher=#e5383b, backpack=#2fb457, hand drill=#ffb000, survivor=#ff66b3
"""
_MCUBES = """
asphalt=#5b616b, concrete=#a9adb3, metal=#7290b4, road marking=#f4f1e6, fabric=#8b3fd1, glass=#14cfe0,
plaster=#e0b996, plastic=#ffb000, rubber=#2b2740, sand=#e6d15a, gravel=#8f8168, ceramic=#f2a08a,
cobblestone=#7a5a73, brick=#b43636, grass=#7fce3c, wood=#845a24, leaf=#1f7d3a, water=#2450c8,
human=#ff66b3, sky=#8ecbf5
"""
_CAMVID = """
sky=#8ecbf5, building=#a56a54, pole=#fff04a, road=#6b7280, pavement=#cf9cc9, tree=#2f8f3f, sign=#ffb000,
fence=#e0b98a, car=#2f6bff, pedestrian=#ff66b3, bicyclist=#d6203a
"""
_DELIVER = """
Building=#a56a54, Fence=#d9a066, Other=#2b3038, Pedestrian=#ff66b3, Pole=#fff04a, RoadLine=#f4f1e6,
Road=#6b7280, SideWalk=#cf9cc9, Vegetation=#2f8f3f, Cars=#2f6bff, Wall=#b4bcc6, TrafficSign=#ffc400,
Sky=#8ecbf5, Ground=#8c7a52, Bridge=#6b46a3, RailTrack=#5a2e22, GroundRail=#b06be8, TrafficLight=#e81ee0,
Static=#3d6b60, Dynamic=#b8057c, Water=#14b8c4, Terrain=#a9d65a, TwoWheeler=#d6203a, Bus=#16207a,
Truck=#0fd38f
"""

DATASETS: Mapping[str, DatasetLabels] = MappingProxyType(
    {
        labels.name: labels
        for labels in (
            _dataset("nyuv2", "NYU Depth V2", _NYUV2, first_stored=1),
            _dataset("sunrgbd", "SUN RGB-D", _SUNRGBD, first_stored=1),
            _dataset("mfnet", "MFNet", _MFNET),
            _dataset("pst900", "PST900", _PST900),
            _dataset("mcubes", "MCubeS", _MCUBES),
            _dataset("deliver", "DELIVER", _DELIVER, first_stored=1),
            _dataset("camvid", "CamVid", _CAMVID),
        )
    }
)
"""The six benchmarks and CamVid by key: nyuv2, sunrgbd, mfnet, pst900, mcubes, deliver, camvid.

Read-only.
"""


def labels_of(classes: tuple[str, ...]) -> DatasetLabels | None:
    """The dataset with these classes in this order; None for any other classes."""
    return next((labels for labels in DATASETS.values() if labels.classes == tuple(classes)), None)
