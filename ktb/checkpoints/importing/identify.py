"""Identification of an official file by its backbone's width, its classes and, last, its name."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from ktb.checkpoints.registry import PUBLISHED, WIDTHS, PublishedModel
from ktb.config import ModelConfig

DEPTHS = (2, 2, 18, 2)
_WORD = r"{}(?![a-z])"
_LETTERS = {"nir": "n", "dolp": "d", "aolp": "a"}  # as in "RGB-N"


def identify(config: ModelConfig, source: str, modality: str | None = None) -> PublishedModel:
    """The published model of a file.

    Args:
        config: from `ktb.checkpoints.official.infer_config`.
        source: the file's name, with folders; used where the shapes are ambiguous.
        modality: of X, for names that are ambiguous too.

    Raises:
        ValueError: the file is none of the published models, or is ambiguous.
    """
    found = _with_these_shapes(config)
    if not found:
        raise ValueError(
            f"{source} is an official file, but none of the published models: {config.num_classes} classes, "
            f"feature widths {config.backbone.feature_dims}. Convert it with `python -m ktb import-official`."
        )
    if modality is not None:
        fitting = [model for model in found if model.modality == modality]
        if not fitting:
            takes = " or ".join(model.modality for model in found)
            raise ValueError(
                f"{source} is {_named(found)}, whose X is {takes}, not {modality!r}. Leave --modality out, "
                f"or convert the file as something else with `python -m ktb import-official`."
            )
        return fitting[0]
    if len(found) > 1:
        found = _hinted_at(source, found)
    return found[0]


def _with_these_shapes(config: ModelConfig) -> list[PublishedModel]:
    backbone = config.backbone
    return [
        model
        for model in PUBLISHED
        if backbone.kind == "swin"
        and backbone.depths == DEPTHS
        and backbone.embed_dim == WIDTHS[model.size]
        and config.num_classes == model.num_classes
    ]


def _hinted_at(source: str, models: list[PublishedModel]) -> list[PublishedModel]:
    """The one model whose modality is in the file's name, or else in the name of a parent folder."""
    for part in reversed(PurePosixPath(source.replace("\\", "/")).parts):
        hinted = [model for model in models if _says(part.lower(), model.modality)]
        if len(hinted) == 1:
            return hinted
    choices = "|".join(model.modality for model in models)
    raise ValueError(
        f"{source} is {_named(models)}: their weights have the same shapes, and its name does not say which. "
        f"Import it alone with `--modality {choices}`."
    )


def _says(text: str, modality: str) -> bool:
    rgb_with_letter = rf"rgb[-_+ ]?{_LETTERS.get(modality, modality)}"
    return any(re.search(_WORD.format(word), text) for word in (modality, rgb_with_letter))


def _named(models: list[PublishedModel]) -> str:
    return " or ".join(model.name for model in models)
