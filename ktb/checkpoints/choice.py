"""Choice of a model by the sensor of X: "auto" in place of a model's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ktb.checkpoints.metadata import OFFICIAL_SUFFIXES, read_header
from ktb.checkpoints.registry import AUTO_MODEL as AUTO_MODEL
from ktb.checkpoints.registry import built_in_models
from ktb.config import ModelConfig
from ktb.inputs.recognize import Recognition
from ktb.modalities import MODALITIES, Modality


@dataclass(frozen=True)
class ModelChoice:
    """A chosen model.

    Attributes:
        name: of the chosen model.
        why: the reason, a sentence.
        modality: what X was recognized as, None without X.
        fits: whether the model was trained with X's sensor.
        scenes: without X, further models to try in this order if the RGB image is unlike the chosen model's
            training.
    """

    name: str
    why: str
    modality: Modality | None = None
    fits: bool = True
    scenes: tuple[str, ...] = ()


def model_configs(files: Mapping[str, Path]) -> dict[str, ModelConfig]:
    """Configurations of model files by name, without those of official files, whose header has none."""
    return {
        name: read_header(path)[0] for name, path in files.items() if path.suffix not in OFFICIAL_SUFFIXES
    }


def choose_model(found: Recognition | None, configs: Mapping[str, ModelConfig] | None = None) -> ModelChoice:
    """Choose a model for X, or for an RGB image alone.

    Args:
        found: what X was recognized as; None without X.
        configs: the models to choose from, preferred ones first; the built-in ones by default.

    Raises:
        ValueError: X is ambiguous, with the two likeliest modalities and the remedy; or there is no model.
    """
    configs = model_configs(built_in_models()) if configs is None else configs
    if not configs:
        raise ValueError("no model is available to choose from; give the name or the file of one.")
    if found is None:
        first = _of("depth", configs) or next(iter(configs))
        return ModelChoice(first, "there is no X", scenes=_other_scenes(first, configs))
    if not found.is_sure:
        raise ValueError(f"{ask(found)} Say what X is (modality, --modality), or name a model.")
    noun = MODALITIES[found.modality].noun
    name = _of(found.modality, configs)
    if name is not None:
        return ModelChoice(name, f"X is {noun}: {found.why}", found.modality)
    fallback = _of("depth", configs) or next(iter(configs))
    learned = MODALITIES[configs[fallback].inputs.modality].noun
    why = f"X is {noun} ({found.why}), for which there is no model; this one learned from {learned}"
    return ModelChoice(fallback, why, found.modality, fits=False)


def ask(found: Recognition) -> str:
    """What is unclear about an ambiguous X, as a sentence."""
    nouns = [MODALITIES[modality].noun for modality in (found.modality, found.alternative) if modality]
    return f"X may be {' or '.join(nouns)}: neither its content nor its name tells."


def _of(modality: Modality, configs: Mapping[str, ModelConfig]) -> str | None:
    """The first model of a modality; one of depth also takes HHA's place, whose input is computed from it."""
    return next((name for name, config in configs.items() if config.inputs.modality == modality), None)


def _other_scenes(name: str, configs: Mapping[str, ModelConfig]) -> tuple[str, ...]:
    """The first models of other datasets than a model's own, in which another scene may be at home."""
    seen, found = {configs[name].dataset}, []
    for other, config in configs.items():
        if config.dataset not in seen:
            seen.add(config.dataset)
            found.append(other)
    return tuple(found)
