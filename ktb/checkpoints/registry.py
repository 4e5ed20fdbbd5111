"""Names of models and the files behind them: built-in checkpoints, published models, paths and addresses.

The mIoU of the twelve published models are the authors' own (reference: training page, section 1); none is
measured by us.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ktb.checkpoints.remote import Progress, download_from_hub, parse_address
from ktb.config import Modality
from ktb.labels import DATASETS
from ktb.utils.cache import readable_folders
from ktb.utils.files import require_sha256, shipped

DEFAULT_MODEL = "ktb-lite-nyuv2-depth"
AUTO_MODEL = "auto"
"""In place of a model's name: the model is chosen by the sensor of X, and by the scene without X."""
BUILT_IN_FOLDER = shipped("checkpoints")
FOLDER = "zoo"
DRIVE_ID = "1YqwIwt8e986zZC3omrTdhMrbiDEWwagw"
DRIVE_URL = f"https://drive.google.com/drive/folders/{DRIVE_ID}"
WIDTHS: Mapping[str, int] = MappingProxyType({"b": 128, "l": 192})
"""Channels of the first stage of Swin "b" and "l"."""
PROTOCOL = (
    "Published mIoU in percent is the authors' own, not measured by us; it was probably taken at six scales "
    "with flips, after the best epoch was chosen on the same images."
)


@dataclass(frozen=True)
class PublishedModel:
    """A published model of the authors.

    Attributes:
        name: such as "ktb-b-nyuv2".
        dataset: key in `ktb.labels.DATASETS`.
        modality: of X.
        size: of the Swin backbone, "b" or "l".
        miou: as published, fused head, percent.
        remark: about its metric, in addition to `PROTOCOL`.
    """

    name: str
    dataset: str
    modality: Modality
    size: str
    miou: float
    remark: str = ""

    @property
    def title(self) -> str:
        """The dataset's name for display."""
        return DATASETS[self.dataset].title

    @property
    def num_classes(self) -> int:
        """K."""
        return DATASETS[self.dataset].num_classes


PUBLISHED = (
    PublishedModel("ktb-b-nyuv2", "nyuv2", "hha", "b", 59.0),
    PublishedModel("ktb-l-nyuv2", "nyuv2", "hha", "l", 59.9),
    PublishedModel("ktb-b-sunrgbd", "sunrgbd", "depth", "b", 53.7),
    PublishedModel("ktb-l-sunrgbd", "sunrgbd", "depth", "l", 55.0),
    PublishedModel("ktb-b-mfnet", "mfnet", "thermal", "b", 59.9),
    PublishedModel("ktb-l-mfnet", "mfnet", "thermal", "l", 59.2),
    PublishedModel("ktb-b-pst900", "pst900", "thermal", "b", 87.6),
    PublishedModel("ktb-l-pst900", "pst900", "thermal", "l", 88.7),
    PublishedModel("ktb-b-mcubes-nir", "mcubes", "nir", "b", 53.8),
    PublishedModel("ktb-b-mcubes-dolp", "mcubes", "dolp", "b", 54.5),
    PublishedModel("ktb-b-mcubes-aolp", "mcubes", "aolp", "b", 53.7),
    PublishedModel("ktb-b-deliver", "deliver", "event", "b", 58.4, "on val, not test"),
)


def published_model(name: str) -> PublishedModel | None:
    """The published model of a name, or None."""
    return next((model for model in PUBLISHED if model.name == name), None)


def zoo_file(name: str) -> Path | None:
    """The converted file of a published model on this machine; None if it is missing or unpublished."""
    if published_model(name) is None:
        return None
    files = (folder / f"{name}.safetensors" for folder in readable_folders(FOLDER))
    return next((file for file in files if file.is_file()), None)


def zoo_files() -> dict[str, Path]:
    """Names and files of the published models on this machine."""
    found = {model.name: zoo_file(model.name) for model in PUBLISHED}
    return {name: file for name, file in found.items() if file is not None}


def how_to_get() -> str:
    """Instructions for obtaining a published model."""
    return (
        f"`python -m ktb zoo fetch` tries to download the authors' files. Or open {DRIVE_URL} in a browser, "
        f"download what you need, and import it with `python -m ktb zoo add FILE_OR_FOLDER`."
    )


def built_in_models() -> dict[str, Path]:
    """Names and files of the checkpoints that ship with the project."""
    return {path.stem: path for path in sorted(BUILT_IN_FOLDER.glob("*.safetensors"))}


def resolve(name_or_file: str | Path, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """The file of a name, a path or an address; arguments and errors as for `load_model`."""
    name = str(name_or_file)
    if (address := parse_address(name, sha256)) is not None:
        return download_from_hub(address, progress)
    path = _on_this_machine(name)
    if sha256 is not None:
        require_sha256(path, sha256, name)
    return path


def _on_this_machine(name: str) -> Path:
    """The file of a name or a path; ValueError with the alternatives if there is none."""
    built_in = built_in_models()
    if name == AUTO_MODEL and not os.path.isfile(name):
        raise ValueError(
            f"{name!r} is no model: it chooses one for every pair. Use ktb.AutoPredictor, the page or "
            f"`python -m ktb predict`, or name one of {', '.join(built_in) or 'your files'}."
        )
    if found := built_in.get(name) or zoo_file(name):
        return found
    if os.path.isfile(name):  # Path.is_file raises for some names
        return Path(name)
    if published_model(name) is not None:
        raise ValueError(f"{name!r} is a model of the authors that is not on this machine. {how_to_get()}")
    raise ValueError(
        f"there is no model or file {name!r}. Built-in models: {', '.join(built_in) or 'none'}. Or give the "
        f"path of a .safetensors or official .pth file, hf://ORG/NAME@REVISION, or a "
        f"name that `python -m ktb zoo` lists."
    )


def short_name(name_or_file: str | Path, path: Path) -> str:
    """Display name of a model that `resolve` found at a path, without folders and suffix."""
    name = str(name_or_file)
    address = parse_address(name) if name.startswith("hf:") else None  # hub files often share one name
    return path.stem if address is None else address.short_name
