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

In place of label_offset, `values: {0: soil, 255: tree}` says what each stored value means. In place of rgb, x
and labels, `pairs: associations.txt` names a list with the RGB image, its X and optionally
its labels on each line, such as the associations of TUM's RGB-D benchmark, whose times are passed over.

Further keys set how X is read and encoded, by its modality. A trained model file stores them, whether they
are said or guessed, so that prediction reads X as training did:
- unit: of depth and hha (a key of `ktb.inputs.DEPTH_UNITS`, or a scale: levels per metre, such as 6553.5, or
  the size of a level, such as 0.25mm or 1/4000m), thermal (`thermal.THERMAL_UNITS`), dolp or aolp
  (`polarization.DOLP_UNITS`, `AOLP_UNITS`); default auto.
- depth_scale: the unit of depth as levels per metre (or, below 1, the size of a level in metres).
- max_metres: the depth that is mapped to 1.0, default 10.
- range: [low, high], the values mapped to black and white in every thermal or near infrared file.
- percentiles: [low, high], between which thermal of 16 bits or floats is stretched without a range; default
  [1, 99].
- hot: the polarity of heat in the thermal images, white (default) or black.
- event_window_ms: the time span of one event image in milliseconds; default the whole stream.
- columns (such as txyp), time_unit (s, ms, us, ns) and sensor ([height, width]): of event tables, if they are
  not detected.
- intrinsics ([fx, fy, cx, cy] of X) or field_of_view (degrees): of the depth camera, for hha.
- turn: exif, if X lies as the sensor stored the pixels and the RGB images have an EXIF orientation, or 90,
  180, 270 degrees clockwise; turn_labels: exif, likewise for the labels. By default neither is turned.
- channel (1 to 4, or colour) of X files with several, and byte_order (stored or swapped); by default a fourth
  channel that varies is X, and bytes are swapped where neighbouring pixels say so.
- encoding: another encoder than the modality's own (`ktb.config.Encoding`), such as event_voxel; with image,
  depth is taken as a plain picture.

What is not said is guessed once for all files, so that no file is read otherwise than the rest: the unit,
the columns, time unit and sensor of events, and the white level of near infrared of 10 or 12 bits in 16.
Files that give different guesses are refused with the key to say. A thermal range is in degrees Celsius where
the unit is known, else as stored. Labels are lossless pictures (PNG) or arrays: of class numbers in one
channel or three equal ones, palette indices, or the classes' own colours.
Files are paired by name: the path below the folder without its suffix, or the text that {name} matches.

A YAML file may name any folder that this process can read: do not open one from an untrusted source.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ktb.config import Encoding, InputConfig
from ktb.datasets.labels import LabelRule, read_stored
from ktb.datasets.lists import columns, read_lines, read_pairs
from ktb.datasets.pairing import ARRAYS, PICTURES, WILD, X_FILES, scan
from ktb.datasets.schema import class_labels, read_keys
from ktb.inputs import EncodedX, InputError, RawX, RgbImage, XOptions, encode_x, read_x
from ktb.inputs.encoders.byte_order import order_of
from ktb.inputs.encoders.channels import choose_channel
from ktb.inputs.options import RECORDING, ByteOrder
from ktb.inputs.sets import EXAMINED, Disagreement, SetReading, read_set
from ktb.modalities import DEFAULT_ENCODINGS
from ktb.utils.text import did_you_mean

_SUFFIXES = (*X_FILES, *PICTURES)


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
    the remedy. `root` may be given to use another folder than the file says, and `trained`, the inputs of a
    model, to read X as that model's training did where the file says nothing.
    """

    def __init__(self, file: str | Path, root: str | Path | None = None, trained: InputConfig | None = None):
        self.file, self.trained = Path(file), trained
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
            InputConfig(**self._given)
            self._said = self._options()
        except ValueError as error:
            raise ValueError(f"{self.file}: {error}") from error
        self.label_rule = LabelRule(
            self.labels.classes,
            self.labels.palette,
            self.keys.stored_values,
            self.keys.ignored_values,
            self.keys.ignore is not None,
        )

    @property
    def has_labels(self) -> bool:
        """Whether the dataset has label images."""
        return self.keys.labels is not None or (self.keys.pairs is not None and "labels" in self._files)

    @property
    def layout(self) -> str:
        """Where the files are, for messages."""
        keys = self.keys
        if keys.pairs is not None:
            return f"{self.file}: pairs '{keys.pairs}' in {self.root}"
        return f"{self.file}: rgb '{keys.rgb}', x '{keys.x}', labels '{keys.labels}' in {self.root}"

    @property
    def encoding(self) -> Encoding:
        """The encoding of X: the default of its modality, unless the file names another."""
        return self.keys.encoding or DEFAULT_ENCODINGS[self.keys.modality]

    @property
    def input_config(self) -> dict[str, Any]:
        """Fields of `ktb.config.InputConfig` for a model trained on this dataset; ValueError as `reading`."""
        reading = self.reading
        found: dict[str, Any] = {"unit": reading.unit}
        if reading.unit != "auto":
            found["stored"] = reading.stored
        found |= {name: getattr(self.x_options, name) for name in RECORDING}
        if reading.white is not None:
            found |= {"range_low": 0.0, "range_high": float(reading.white)}
        unknown = InputConfig()
        return self._given | {name: value for name, value in found.items() if value != getattr(unknown, name)}

    @property
    def _given(self) -> dict[str, Any]:
        """Fields of `InputConfig` that the file says, without reading X."""
        keys = self.keys
        low, high = keys.range or (None, None)
        given = {
            "range_low": low,
            "range_high": high,
            "percentiles": keys.percentiles,
            "hot": keys.hot,
            "event_window_ms": keys.event_window_ms,
            "field_of_view": keys.field_of_view,
            "intrinsics": keys.intrinsics,
        }
        fields = {"modality": keys.modality, "encoding": self.encoding, "max_metres": keys.max_metres}
        return fields | {name: value for name, value in given.items() if value is not None}

    @property
    def x_options(self) -> XOptions:
        """The options for all X, as said and as guessed for the set (ValueError as for `reading`)."""
        return self.reading.applied_to(self._known)

    def _options(self) -> XOptions:
        keys = self.keys
        return XOptions(
            modality=keys.modality,
            unit=keys.said_unit,
            field_of_view=keys.field_of_view,
            intrinsics=keys.intrinsics,
            columns=keys.columns,
            time_unit=keys.time_unit,
            sensor_hw=keys.sensor,
            turn=keys.turn,
            channel=keys.channel,
            byte_order=keys.byte_order,
        )

    @property
    def unit(self) -> str:
        """The unit of all X files, as said or guessed; "auto" where it has no effect (see `reading`)."""
        return self.reading.unit

    @cached_property
    def reading(self) -> SetReading:
        """How all X files are read: as said, else as in `trained`, else guessed from a few of them.

        A guessed unit has no effect for thermal without a range in degrees and with hot as white. Raises
        ValueError if an examined file cannot be read, or if the files give different guesses.
        """
        if self.encoding == "image":
            return SetReading()
        trained = self.trained
        is_known = trained is not None and trained.encoding == self.encoding and trained.unit != "auto"
        if trained is not None and is_known and self._said.unit == "auto":
            found = self._read(replace(self._known, unit=trained.unit, surety="as in training"))
            if trained.stored in ("any", found.stored):
                return found
        return self._read(self._known)

    def _read(self, options: XOptions) -> SetReading:
        has_range = self.keys.range is not None
        needs_unit = has_range or self.keys.hot == "black" or self.encoding != "thermal"
        try:
            found = read_set(self._examined(options), InputConfig(**self._given), options, needs_unit)
        except Disagreement as error:
            raise self.error(error.key.replace("_hw", ""), str(error)) from error
        except InputError as error:
            raise self.error("x", str(error)) from error
        return replace(found, white=None) if has_range else found

    @cached_property
    def _known(self) -> XOptions:
        """The options of X that the file says, completed by those of `trained` but for the unit."""
        said = replace(self._said, byte_order=self._byte_order)
        if self.trained is None or self.trained.encoding != self.encoding:
            return said
        return said.as_trained(self.trained)

    @cached_property
    def _byte_order(self) -> ByteOrder:
        """The byte order of all X files, as said or as some of them show; ValueError if they differ."""
        if self.keys.byte_order != "auto" or self.keys.modality == "event":
            return self.keys.byte_order
        stored = replace(self._said, byte_order="stored")
        found = {order_of(raw.data): name for name, raw in self._examined(stored) if raw.kind == "picture"}
        if {"stored", "swapped"} <= set(found):
            both = ", ".join(f"{found[order]} {order}" for order in ("stored", "swapped"))
            raise self.error("byte_order", f"the X files look differently ordered: {both}; say which it is")
        return "swapped" if "swapped" in found else "stored"

    def _examined(self, options: XOptions) -> Iterator[tuple[str, RawX]]:
        """Some X files of the set, evenly spaced; ValueError if none of them can be read."""
        files = list(self._files["x"].values())
        problems, count = [], 0
        for file in files[:: -(-len(files) // EXAMINED)]:
            try:
                raw = choose_channel(read_x(file, options=options), self.keys.modality, options)
            except ValueError as error:  # reading this file for itself says the same
                problems.append((file, error))
                continue
            count += 1
            yield str(file), raw
        if problems and not count:
            file, error = problems[0]
            raise self.error("x", f"{file}: {error}") from error

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
        options = self.x_options if self.keys.modality == "event" else self._known
        return choose_channel(read_x(file, options=options), self.keys.modality, options)

    def encode_x(self, raw: RawX, rgb: RgbImage | tuple[int, int]) -> EncodedX:
        """Encode a raw X from `read_x` for the network.

        rgb: its RGB image, or the height and width of one without an orientation. Raises ValueError for what
        `ktb.inputs.encode_x` refuses.
        """
        image = rgb if isinstance(rgb, RgbImage) else None
        options = replace(self.x_options, channel="auto")  # `read_x` chose the channel
        return encode_x(raw, self._inputs, None if image else rgb, options, image)

    @cached_property
    def _inputs(self) -> InputConfig:
        return InputConfig(**self.input_config)

    def read_label(self, file: Path) -> np.ndarray:
        """Read labels (H, W) uint8, 255 = ignored; ValueError as `read_stored` and `LabelRule.to_classes`."""
        return self.label_rule.to_classes(read_stored(file), file.name)

    def error(self, key: str, what: str) -> ValueError:
        """A ValueError that names the file and the key."""
        return ValueError(f"{self.file}: key '{key}': {what}.")

    @cached_property
    def _files(self) -> dict[str, dict[str, Path]]:
        """Name -> file for rgb, x and labels."""
        if self.keys.pairs is not None:
            return self._from_list(self.keys.pairs)
        places = {key: getattr(self.keys, key) for key in ("rgb", "x", "labels")}
        return {key: self._scan(key, place) for key, place in places.items() if place is not None}

    def _from_list(self, file: str) -> dict[str, dict[str, Path]]:
        """The files of a list of pairs, by the RGB images' paths without suffix."""
        try:
            listed = read_pairs(self._list_file(file), self.root)
        except ValueError as error:
            raise self.error("pairs", str(error)) from error
        found: dict[str, dict[str, Path]] = {"rgb": {}, "x": {}, "labels": {}}
        for pair in listed:
            name = Path(os.path.relpath(pair.rgb, self.root)).with_suffix("").as_posix()
            if name in found["rgb"]:
                raise self.error("pairs", f"{pair.rgb} is on two lines; leave one of them")
            for key, path in (("rgb", pair.rgb), ("x", pair.x), ("labels", pair.label)):
                if path is not None:
                    found[key][name] = path
        return {key: files for key, files in found.items() if files}

    def _list_file(self, file: str) -> Path:
        """A list's path, relative to the root, else to the YAML file."""
        path = self.root / file
        return path if path.is_file() else self.file.parent / file

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
        path = self._list_file(file)
        if not path.is_file():
            raise self.error(f"split.{split}", f"there is no file {path}; list one name a line there")
        photos = self._files["rgb"]
        stems: dict[str, str | None] = {}
        for name, photo in photos.items():  # None: several photos of one name
            stems[photo.stem] = None if photo.stem in stems else name
        known = {Path(os.path.relpath(p, self.root)).as_posix(): name for name, p in photos.items()}
        known |= {p.name: name for name, p in photos.items()} | {name: name for name in photos}

        def named(line: str) -> str:
            for text in (line, *columns(line)[:1]):  # a line may hold the files of a pair
                stem = Path(text).stem if Path(text).suffix.lower() in _SUFFIXES else Path(text).name
                if (name := known.get(text) or stems.get(stem)) is not None:
                    return name
            what = f"{path} names '{line}', no photo does.{did_you_mean(line, photos)}"
            raise self.error(f"split.{split}", what)

        try:
            return [named(line) for line in read_lines(path)]
        except UnicodeError as error:
            raise self.error(f"split.{split}", f"{path} is no text ({error})") from error

    def _file(self, key: str, name: str) -> Path | None:
        """The file of a name, or its expected path if it is missing; None without labels."""
        if key not in self._files:
            return None
        place = getattr(self.keys, key) or "{name}.*"  # without a pattern: from a list of pairs
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
