"""The benchmarks by name, and custom datasets by their YAML files."""

from pathlib import Path

from ktb.config import InputConfig
from ktb.labels import IGNORE_INDEX
from training.data.datasets.base import PairDataset, hold_out
from training.data.datasets.camvid import CamVid
from training.data.datasets.custom import CustomPairDataset
from training.data.datasets.deliver import DELIVER
from training.data.datasets.mcubes import MCubeS
from training.data.datasets.mfnet import MFNet
from training.data.datasets.nyuv2 import NYUv2
from training.data.datasets.pst900 import PST900
from training.data.datasets.sample import LayoutError, Sample, choose
from training.data.datasets.sunrgbd import SUNRGBD

REGISTRY: dict[str, type[PairDataset]] = {
    kind.name: kind for kind in (NYUv2, SUNRGBD, MFNet, PST900, MCubeS, DELIVER, CamVid)
}

__all__ = [
    "IGNORE_INDEX",
    "REGISTRY",
    "CustomPairDataset",
    "LayoutError",
    "PairDataset",
    "Sample",
    "build_dataset",
    "hold_out",
]


def build_dataset(
    name: str,
    root: str | Path | None,
    split: str,
    *,
    modality: str | None = None,
    cache: bool = False,
    verify: bool = True,
    trained: InputConfig | None = None,
) -> PairDataset:
    """Open the `split` of a dataset below the folder `root`.

    name: a key of REGISTRY, or the path of a .yaml or .yml file of a custom dataset (`ktb.datasets.custom`).
    root: None is allowed for a YAML file, which then gives the folder. modality: one of the dataset's
    modalities of X (default: the first). cache: keep every decoded sample in memory. verify: check that all
    files exist. trained: inputs of a model, for what a YAML file does not say about X. Raises ValueError for
    an unknown name, split or modality, and for files that do not follow the dataset's layout.
    """
    if str(name).lower().endswith((".yaml", ".yml")):
        given = {"root": root, "modality": modality, "cache": cache, "verify": verify}
        return CustomPairDataset(name, split, **given, trained=trained)
    choose("Dataset", name, REGISTRY)
    if root is None:
        raise ValueError(f"{name}: give the dataset's folder (--data). Layout: {REGISTRY[name].layout}")
    return REGISTRY[name](root, split, modality=modality, cache=cache, verify=verify)
