"""A hub and a zoo of the tests' own."""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path

import torch

from helpers.models import stirred, tiny_swin_config
from ktb.checkpoints.official import official_names, our_name
from ktb.checkpoints.registry import DRIVE_ID
from ktb.labels import DATASETS
from ktb.modeling.build import build_model


def official(dataset: str) -> dict[str, torch.Tensor]:
    """The tensors of a tiny network under the authors' names."""
    labels = DATASETS[dataset]
    classes = {"num_classes": labels.num_classes, "classes": labels.classes, "palette": labels.palette}
    model = stirred(build_model(dataclasses.replace(tiny_swin_config(), dataset=dataset, **classes)))
    own = model.state_dict()
    return {name: own[our_name(name)] for name in official_names(model.config.backbone.depths)}


@dataclasses.dataclass
class DriveFile:
    """As gdown lists files."""

    id: str
    path: str
    local_path: str = ""


class Gdown(types.ModuleType):
    """What of gdown is used, over a folder on this machine; files named in `broken` cannot be had."""

    def __init__(self, folder: Path):
        super().__init__("gdown")
        self.folder, self.broken, self.calls = folder, set(), []

    def download_folder(self, id, skip_download, quiet):
        assert (id, skip_download, quiet) == (DRIVE_ID, True, True)
        found = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return [DriveFile(f"id{n}", path.relative_to(self.folder).as_posix()) for n, path in enumerate(found)]

    def download(self, id, output, resume, quiet):
        path = self.download_folder(DRIVE_ID, True, True)[int(id.removeprefix("id"))].path
        self.calls.append(path)
        if path in self.broken:
            raise RuntimeError("Too many users have viewed or downloaded this file recently")
        Path(output).write_bytes((self.folder / path).read_bytes())
        return output
