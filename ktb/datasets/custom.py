"""Custom datasets of image pairs, described by a YAML file for training, evaluation, the check and the page.

    name: orchard
    root: recordings                  # relative to this file; default: the folder of this file
    rgb: photos                       # a folder, a glob (photos/*.jpg), or a pattern with {name}
    x: thermal/{name}_ir.png          # the file of photo NAME; {name} may contain subfolders
    labels: labels                    # optional; without labels only the page can use the data
    modality: thermal                 # depth, hha, thermal, event, nir, dolp, aolp, lidar or other
    classes: [soil, {name: tree, color: "#2f8f3f"}, {name: fruit, color: [230, 60, 40]}]
    label_offset: 1                   # stored value - offset = class; default 0
    ignore: [0, 255]                  # stored values excluded from metrics; default [255]
    split: {train: 0.8, val: 0.1, test: 0.1}      # or files with names: {train: train.txt, test: test.txt}
    seed: 0                           # of the fractions; a new file moves at most a few others

Further keys set how X is read and encoded, by its modality. A trained model file stores range, percentiles,
hot, event_window_ms, max_metres and encoding:
- unit: of depth and hha (a key of `ktb.inputs.DEPTH_UNITS`), thermal (`thermal.THERMAL_UNITS`), dolp or
  aolp (`polarization.DOLP_UNITS`, `AOLP_UNITS`); default auto.
- max_metres: the depth that is mapped to 1.0, default 10.
- range: [low, high], the values mapped to black and white in every thermal or near infrared file.
- percentiles: [low, high], between which thermal of 16 bits or floats is stretched without a range; default
  [1, 99].
- hot: the polarity of heat in the thermal images, white (default) or black.
- event_window_ms: the time span of one event image in milliseconds; default the whole stream.
- columns (such as txyp), time_unit (s, ms, us, ns) and sensor ([height, width]): of event tables, if they are
  not detected.
- intrinsics ([fx, fy, cx, cy] of X) or field_of_view (degrees): of the depth camera, for hha.
- encoding: another encoder than the modality's own (`ktb.config.Encoding`), such as event_voxel; with image,
  depth is taken as a plain picture.

The unit "auto" is guessed once for all files where it matters, so that no file is read in another one; a
thermal range is in degrees Celsius where the unit is known, else as stored. Near infrared of 10 or 12 bits
in 16 is recognised file by file: better name its range.
Files are paired by name: the path below the folder without its suffix, or the text that {name} matches.

A YAML file may name any folder that this process can read: do not open one from an untrusted source.
"""

import hashlib
import os
import reprlib
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ktb.config import DEFAULT_ENCODINGS, Encoding, InputConfig
from ktb.datasets.pairing import ARRAYS, PICTURES, WILD, X_FILES, scan
from ktb.datasets.schema import class_labels, read_keys
from ktb.inputs import EncodedX, RawX, XOptions, encode_x, read_x
from ktb.inputs.encoders.depth import depth_of, is_colour, require_picture
from ktb.inputs.encoders.thermal import thermal_of
from ktb.inputs.readers.stills import PICTURE_FORMATS
from ktb.labels import IGNORE_INDEX
from ktb.utils.text import did_you_mean

_GUESSES = 8  # files that "auto" examines


class CustomPair(NamedTuple):
    """The files of one pair; `label` is None if the dataset has no labels."""

    name: str
    rgb: Path
    x: Path
    label: Path | None


class CustomDataset:
    """A custom dataset described by a YAML file.

    Attributes: `file`, `keys` (CustomDatasetSchema), `name`, `root`, `labels` (ktb.labels.DatasetLabels),
    `splits`. Every mistake in the file, or in what it names, raises ValueError with the file, the key and
    the remedy. `root` may be given to use another folder than the file says.
    """

    def __init__(self, file: str | Path, root: str | Path | None = None):
        self.file = Path(file)
        self.keys = read_keys(self.file)
        self.name = self.keys.name or self.file.stem
        self.root = Path(root) if root is not None else self.file.parent / self.keys.root
        if not self.root.is_dir():
            raise self.error("root", f"the folder {self.root} does not exist")
        self.splits = tuple(self.keys.split)
        try:
            self.labels = class_labels(self.name, self.keys.classes)
        except ValueError as error:
            raise self.error("classes", str(error)) from error
        try:
            self._inputs, self._said = InputConfig(**self.input_config), self._options()
        except ValueError as error:
            raise ValueError(f"{self.file}: {error}") from error

    @property
    def has_labels(self) -> bool:
        """Whether the dataset has label images."""
        return self.keys.labels is not None

    @property
    def encoding(self) -> Encoding:
        """The encoding of X: the default of its modality, unless the file names another."""
        return self.keys.encoding or DEFAULT_ENCODINGS[self.keys.modality]

    @property
    def input_config(self) -> dict[str, Any]:
        """Fields of `ktb.config.InputConfig` for a model trained on this dataset."""
        keys = self.keys
        low, high = keys.range or (None, None)
        given = {
            "range_low": low,
            "range_high": high,
            "percentiles": keys.percentiles,
            "hot": keys.hot,
            "event_window_ms": keys.event_window_ms,
        }
        fields = {"modality": keys.modality, "encoding": self.encoding, "max_metres": keys.max_metres}
        return fields | {name: value for name, value in given.items() if value is not None}

    @property
    def x_options(self) -> XOptions:
        """The file's options for all X, with the detected unit (ValueError as for `unit`)."""
        return replace(self._said, unit=self.unit)

    def _options(self) -> XOptions:
        keys = self.keys
        return XOptions(
            modality=keys.modality,
            unit=keys.unit,
            field_of_view=keys.field_of_view,
            intrinsics=keys.intrinsics,
            columns=keys.columns,
            time_unit=keys.time_unit,
            sensor_hw=keys.sensor,
        )

    @cached_property
    def unit(self) -> str:
        """The unit of all X files, guessed from a few of them; ValueError unless they agree.

        The unit stays "auto" where it has no effect: for thermal without a range in degrees and with hot as
        white, and for encoded HHA images.
        """
        if self.keys.unit != "auto" or not self._needs_unit:
            return self.keys.unit
        files = list(self._files["x"].values())
        guesses: dict[str, Path] = {}
        for file in files[:: -(-len(files) // _GUESSES)]:
            try:
                guesses.setdefault(self._guess(self.read_x(file)), file)
            except ValueError as error:
                raise self.error("x", f"{file}: {error}") from error
        if len(guesses) > 1:
            found = ", ".join(f"'{unit}' for {file}" for unit, file in guesses.items())
            raise self.error("unit", f"auto guesses different units: {found}; name the unit")
        return next(iter(guesses))

    @property
    def _needs_unit(self) -> bool:
        fixed = self.keys.range is not None or self.keys.hot == "black"
        return self.encoding in ("depth", "hha") or (self.encoding == "thermal" and fixed)

    def _guess(self, raw: RawX) -> str:
        """The unit of one file; "auto" for an encoded HHA image, which has none."""
        require_picture(raw, self.keys.modality)
        if self.encoding == "thermal":
            return thermal_of(raw, self._said)[0].unit
        ready = self.encoding == "hha" and is_colour(raw.data)
        return "auto" if ready else depth_of(raw, self._said).unit

    def pairs(self, split: str, *, verify: bool = True) -> list[CustomPair]:
        """The pairs of a split, by name, or in the order of the split's file.

        Raises ValueError for an unknown split and, unless `verify` is False, for a missing X or label file;
        otherwise a missing file is given by the path where it is expected.
        """
        if split not in self.splits:
            has = f"the file has {', '.join(self.splits)}"
            raise self.error("split", f"there is no '{split}', {has}.{did_you_mean(split, self.splits)}")
        given = self.keys.split[split]
        names = self._listed(split, given) if isinstance(given, str) else self._shares[split]
        if not names:
            raise self.error("split", f"'{split}' has no pair, of {len(self._files['rgb'])} photos in all")
        if verify:
            self._require_partners(names)
        return [CustomPair(n, *(self._file(key, n) for key in ("rgb", "x", "labels"))) for n in names]

    def read_x(self, file: Path) -> RawX:
        """Read an X file with the dataset's options; ValueError as for `ktb.inputs.read_x`."""
        return read_x(file, options=self._said)

    def encode_x(self, raw: RawX, size_hw: tuple[int, int]) -> EncodedX:
        """Encode a raw X from `read_x` for the network, at the RGB image's size.

        size_hw: height, width. Raises ValueError for what `ktb.inputs.encode_x` refuses.
        """
        return encode_x(raw, self._inputs, size_hw, self.x_options)

    def read_label(self, file: Path) -> np.ndarray:
        """Read labels (H, W) uint8, 255 = ignored; ValueError for a colour image or a value out of range."""
        try:
            if file.suffix.lower() in ARRAYS:
                stored = read_x(file).data
            else:
                with Image.open(file, formats=PICTURE_FORMATS) as picture:
                    stored = np.array(picture)  # a palette image gives its indices
        except Exception as error:  # decoders raise many types of exceptions for damaged data
            raise ValueError(f"{file.name}: cannot be read as labels ({error})") from error
        if stored.ndim != 2 or stored.dtype.kind not in "uib":
            found = f"{stored.dtype} {stored.shape}"
            raise ValueError(f"{file.name}: {found}; a label picture has one channel of class numbers")
        stored, offset, count = stored.astype(np.int64), self.keys.label_offset, self.labels.num_classes
        ignored = np.isin(stored, self.keys.ignore)
        wrong = np.unique(stored[~ignored & ((stored < offset) | (stored >= offset + count))])
        if len(wrong):
            raise ValueError(
                f"{file.name}: label value {reprlib.repr(wrong.tolist())[1:-1]} is outside {offset}.."
                f"{offset + count - 1} and not in 'ignore' {list(self.keys.ignore)}"
            )
        return np.where(ignored, IGNORE_INDEX, stored - offset).astype(np.uint8)

    def error(self, key: str, what: str) -> ValueError:
        """A ValueError that names the file and the key."""
        return ValueError(f"{self.file}: key '{key}': {what}.")

    @cached_property
    def _files(self) -> dict[str, dict[str, Path]]:
        """Name -> file for rgb, x and labels."""
        places = {key: getattr(self.keys, key) for key in ("rgb", "x", "labels")}
        return {key: self._scan(key, place) for key, place in places.items() if place is not None}

    @cached_property
    def _shares(self) -> dict[str, list[str]]:
        """Names of splits given as fractions: sections of the names sorted by a hash of (seed, name)."""
        digest = {n: hashlib.sha256(f"{self.keys.seed}:{n}".encode()).digest() for n in self._files["rgb"]}
        order = sorted(digest, key=digest.__getitem__)
        shares, start, total = {}, 0, 0.0
        for split, share in self.keys.split.items():
            total += share
            end = round(total * len(order))
            shares[split], start = sorted(order[start:end]), end
        return shares

    def _listed(self, split: str, file: str) -> list[str]:
        """Names in a split's file; a line is a name, an RGB image's file name, or its path below the root."""
        path = self.root / file
        if not path.is_file():
            raise self.error(f"split.{split}", f"there is no file {path}; list one name a line there")
        photos = self._files["rgb"]
        known = {Path(os.path.relpath(p, self.root)).as_posix(): name for name, p in photos.items()}
        known |= {p.name: name for name, p in photos.items()} | {name: name for name in photos}
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        for line in lines:
            if line not in known:
                raise self.error(
                    f"split.{split}", f"{path} names '{line}', no photo does.{did_you_mean(line, photos)}"
                )
        return [known[line] for line in lines]

    def _file(self, key: str, name: str) -> Path | None:
        """The file of a name, or its expected path if it is missing; None without labels."""
        if key not in self._files:
            return None
        place = getattr(self.keys, key)
        if not WILD.search(place):
            place += "/{name}.*"
        return self._files[key].get(name) or self.root / place.replace("{name}", name)

    def _require_partners(self, names: list[str]) -> None:
        for key, files in self._files.items():
            lacking = [name for name in names if name not in files]
            if lacking:
                some, there = (", ".join(list(n)[:3]) for n in (lacking, files))
                raise self.error(
                    key,
                    f"no file for {len(lacking)} of {len(names)} photos (such as {some}), expected "
                    f"{self._file(key, lacking[0])}; found are {there}. If the names differ at the beginning "
                    "or the end, write what differs around {name}",
                )

    def _scan(self, key: str, place: str) -> dict[str, Path]:
        """Name -> file, sorted by name."""
        suffixes = {"rgb": PICTURES, "x": (*PICTURES, *ARRAYS, ".exr"), "labels": (*PICTURES, *ARRAYS)}[key]
        if key == "x" and self.keys.modality == "event":
            suffixes = X_FILES  # includes tables and event streams; elsewhere a .txt is a note
        try:
            return scan(self.root, place, suffixes)
        except ValueError as error:
            raise self.error(key, str(error)) from error
