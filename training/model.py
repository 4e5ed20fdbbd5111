"""Build the model to train from a recipe and a dataset."""

from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ktb.checkpoints.load import load_model
from ktb.checkpoints.pretrained import build_pretrained_model
from ktb.config import ModelConfig
from ktb.labels import DATASETS, DatasetLabels
from ktb.modeling.build import VARIANTS, build_model
from ktb.modeling.layers import require_matching
from ktb.modeling.model import KTB
from training.data.datasets import PairDataset
from training.data.loader import BatchLoader
from training.recipes import Recipe, changed_model

CLASSIFIER = ".classifier."  # in the name of a tensor with one row per class
RESIDUAL_START = 4.0
"""Factor on the last layer of the fusion where a residual is new to a trained model.

The heads know the fusion's output without the residual, whose norm is about four times as large. The embedded
model kept a mIoU of 56.0 of 60.1 with a factor of 3, and 40.6 with 1 (the 80 held-out frames, which it had
been trained on; bfloat16).
"""


def model_config(recipe: Recipe, dataset: PairDataset) -> ModelConfig:
    """The configuration that a recipe describes for a dataset's classes and X.

    `inputs.short_side` is the short side of the recipe's crop, unless `recipe.model` changes it.
    Raises ValueError if `recipe.model` makes the configuration invalid.
    """
    labels = DATASETS.get(dataset.name) or DatasetLabels(
        dataset.name, dataset.name, tuple(dataset.classes), tuple(dataset.palette)
    )
    variant = VARIANTS[recipe.backbone]
    inputs = variant.inputs(**{"short_side": min(recipe.crop), **dataset.input_config})
    config = variant.make(labels, inputs, f"ktb-{recipe.backbone}-{dataset.name}-{dataset.modality}")
    return changed_model(config, recipe.model)


def make_model(
    recipe: Recipe,
    dataset: PairDataset,
    start: Path | None = None,
    pretrained: bool = True,
    new_classes: bool = False,
) -> KTB:
    """The recipe's model with pretrained frozen weights, or with the weights of the saved model `start`.

    pretrained=False leaves the frozen weights random, for counting and for tests. new_classes: the heads'
    classifiers are initialised, because `start` has other classes; all other tensors must fit. A start
    without a residual in its fusion can begin a model with one; see `RESIDUAL_START`.
    Raises ValueError if `start` does not match the recipe's model, or if no pretrained weights are available.
    """
    config = model_config(recipe, dataset)
    if pretrained and start is None:
        model = build_pretrained_model(config, recipe.pretrained, recipe.fusion_start)
    else:
        model = build_model(config, recipe.fusion_start)
    if start is not None:
        model.load_state_dict(initial_weights(model, start, new_classes))
    if recipe.dropout is not None:
        for module in model.modules():
            if isinstance(module, nn.Dropout | nn.Dropout2d):
                module.p = recipe.dropout
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if recipe.gradient_checkpointing:
        model.backbone.set_grad_checkpointing()
    return model


def weights_of(start: Path) -> dict[str, Tensor]:
    """The tensors of a saved model without the statistics of its domain check, which belong to its data."""
    return _without_domain(load_model(start, "cpu"))


def _without_domain(model: KTB) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("domain.")}


def initial_weights(model: KTB, start: Path, new_classes: bool = False) -> dict[str, Tensor]:
    """The tensors of the saved model `start` for `model`; arguments and errors as for `make_model`."""
    before = load_model(start, "cpu")
    weights = _without_domain(before)
    if new_classes:
        weights |= {name: own for name, own in model.state_dict().items() if CLASSIFIER in name}
    require_matching(model.state_dict(), weights, f"the tensors of {start}")
    if before.config.fusion.residual and not model.config.fusion.residual:
        raise ValueError(
            f"{start} was trained with a residual in its fusion: --set model.fusion.residual=true."
        )
    if model.config.fusion.residual and not before.config.fusion.residual:
        enlarged = [name for name in weights if name.startswith("dscf.") and ".up." in name]
        weights |= {name: RESIDUAL_START * weights[name] for name in enlarged}
    return weights


def label_counts(loader: BatchLoader) -> Tensor:
    """Labelled pixels of each class, (K,) int64, over a loader's samples as stored."""
    dataset = loader.dataset
    counts = torch.zeros(dataset.num_classes, dtype=torch.int64)
    for index in tqdm(loader.indices.tolist(), unit="label", desc="class weights"):
        label = torch.from_numpy(dataset[index].label).flatten().long()
        counts += torch.bincount(label, minlength=256)[: dataset.num_classes]
    return counts
