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
    """One of the authors' models.

    Attributes:
        name: what it is called here, such as "ktb-b-nyuv2".
        dataset: key in `ktb.labels.DATASETS`.
        modality: of X.
        size: of the Swin backbone, "b" or "l".
        miou: as published, fused head, percent.
        remark: what its figure depends on, beside `PROTOCOL`.
    """

    name: str
    dataset: str
    modality: Modality
    size: str
    miou: float
    remark: str = ""

    @property
    def title(self) -> str:
        """The data set's name for display."""
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
    """The published model of a name."""
    return next((model for model in PUBLISHED if model.name == name), None)


def zoo_file(name: str) -> Path | None:
    """Where a published model lies here in our format; None if it does not, or for another name."""
    if published_model(name) is None:
        return None
    files = (folder / f"{name}.safetensors" for folder in readable_folders(FOLDER))
    return next((file for file in files if file.is_file()), None)


def zoo_files() -> dict[str, Path]:
    """Name and file of the published models that are on this machine."""
    found = {model.name: zoo_file(model.name) for model in PUBLISHED}
    return {name: file for name, file in found.items() if file is not None}


def how_to_get() -> str:
    """What to do for a published model that is not here."""
    return (
        f"`python -m ktb zoo fetch` tries to download the authors' files. Or open {DRIVE_URL} in a browser, "
        f"download what you need, and import it with `python -m ktb zoo add FILE_OR_FOLDER`."
    )


def built_in_models() -> dict[str, Path]:
    """Name and file of every checkpoint that ships with the project."""
    return {path.stem: path for path in sorted(BUILT_IN_FOLDER.glob("*.safetensors"))}


def resolve(name_or_file: str | Path, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """The file behind a name, a path or an address; arguments and errors as for `load_model`."""
    name = str(name_or_file)
    if (address := parse_address(name, sha256)) is not None:
        return download_from_hub(address, progress)
    path = _on_this_machine(name)
    if sha256 is not None:
        require_sha256(path, sha256, name)
    return path


def _on_this_machine(name: str) -> Path:
    """The file behind a name or a path; ValueError listing what could be given if there is none."""
    built_in = built_in_models()
    if found := built_in.get(name) or zoo_file(name):
        return found
    if os.path.isfile(name):  # unlike Path's, never raises: a name may be anything
        return Path(name)
    if published_model(name) is not None:
        raise ValueError(f"{name!r} is a model of the authors that is not on this machine. {how_to_get()}")
    raise ValueError(
        f"there is no model or file {name!r}. Built-in models: {', '.join(built_in) or 'none'}. Or give the "
        f"path of a .safetensors or official .pth file, hf://ORG/NAME@REVISION, or a "
        f"name that `python -m ktb zoo` lists."
    )


def short_name(name_or_file: str | Path, path: Path) -> str:
    """What a model that `resolve` found at a path is called: for lists, without folders and suffix."""
    name = str(name_or_file)
    address = parse_address(name) if name.startswith("hf:") else None  # whose files have all the same name
    return path.stem if address is None else address.short_name
