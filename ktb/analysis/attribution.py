"""Sensor attribution of a score: input × gradient at the patch embeddings, and ablation of each sensor."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ktb.analysis.pixel import as_array
from ktb.analysis.targets import Target, check_pixel
from ktb.analysis.types import Attribution, at_of_pixel, cell_at
from ktb.inference.oom import with_enough_memory
from ktb.inference.postprocess import Upsampling, labels_of
from ktb.inference.prediction import read_bilinear
from ktb.inference.predictor import Predictor
from ktb.inference.preprocess import check_rgb
from ktb.inputs import EncodedX
from ktb.modeling.layers import split_streams
from ktb.modeling.model import HEAD_STRIDE, KTB

MAX_GRAPH_ENTRIES = 100_000_000  # attention scores kept for a backward pass: about 2 GB in all
MAX_GPU_ENTRIES = 1_000_000_000


def attribute(
    model: KTB,
    rgb: Tensor,
    modal_x: Tensor,
    target: Target,
    mask_x: Tensor | None = None,
    image_hw: tuple[int, int] | None = None,
) -> Attribution:
    """Attribute one score of the fused branch to the sensors.

    The score is a fused logit of the head at a quarter of the network's size, before any upsampling. The
    score of a pixel is that of the position that contains it. Parameters are unchanged and get no gradients.
    The function also works inside `torch.no_grad` and `torch.inference_mode`.

    Args:
        model: in evaluation mode.
        rgb, modal_x: (1, 3, H, W) float, normalised, as for `KTB.forward`.
        target: the score.
        mask_x: (1,) bool; True zeroes x's tokens first, so that its map is 0.
        image_hw: size of the image that the target's pixel or region belongs to; None: H, W.

    Raises:
        ValueError: there is more than one pair, the model is in training mode, the target does not match the
            image or the classes, or the inputs are too large for a backward pass.
    """
    _check(model, rgb)
    # Gradients are needed whatever the caller's mode; inference tensors cannot be part of a graph.
    with torch.inference_mode(False), torch.enable_grad():
        with torch.no_grad():
            tokens = model.backbone.embed(rgb.clone(), modal_x.clone())
        x_is_missing = mask_x is not None and bool(mask_x.reshape(-1)[0])
        if x_is_missing:
            tokens = _without(tokens, "x")
        _check_size(model, tokens)
        tokens.requires_grad_(True)
        logits = _fused(model, tokens)
        index, weights, where = _choose(model, logits.detach()[0], target, image_hw or rgb.shape[-2:])
        score = (logits[0, index] * weights).sum()
        (gradient,) = torch.autograd.grad(score, tokens)
        value = float(score.detach())
        del logits, score
    with torch.no_grad():
        tokens = tokens.detach()
        maps = [as_array(part[0]) for part in split_streams((gradient * tokens).float().sum(dim=-1))]
        change = {}
        for stream in ("rgb", "x"):
            without = _without(tokens, stream)
            # A pass without gradients may run other kernels: even equal tokens could give other last bits.
            is_same = torch.equal(without, tokens)
            after = value if is_same else float((_fused(model, without)[0, index] * weights).sum())
            change[stream] = after - value
    sizes = [float(np.abs(part).sum(dtype=np.float64)) for part in maps]
    mean = "" if target.kind == "pixel" else "mean "
    return Attribution(
        score=f"{mean}fused logit of {_class_name(model, index)} {where}",
        value=value,
        rgb=maps[0],
        x=maps[1],
        total_rgb=float(maps[0].sum(dtype=np.float64)),
        total_x=float(maps[1].sum(dtype=np.float64)),
        share_x=sizes[1] / sum(sizes) if sum(sizes) else 0.5,
        without_x=change["x"],
        without_rgb=change["rgb"],
        x_is_missing=x_is_missing,
    )


def attribute_prediction(
    predictor: Predictor,
    rgb: np.ndarray,
    reading: EncodedX,
    target: Target,
    compute: Callable[..., Attribution] = attribute,
) -> Attribution:
    """`attribute` for an RGB image and its encoded X, at the size at which the predictor runs them.

    Args:
        rgb: (H, W, 3) uint8 RGB image.
        reading: the encoded X of the run, such as `Prediction.x`; a missing X has zero tokens.
        target: in pixels of the RGB image.
        compute: a replacement for `attribute`, called with all its arguments in order.

    Raises:
        ValueError: as for `attribute`, or the predictor would refuse the RGB image.
    """
    check_rgb(rgb)
    size = rgb.shape[:2]
    if reading.image.shape[:2] != size:
        raise ValueError(f"X was read for an RGB image of {reading.image.shape[:2]}, but this one is {size}.")
    inputs = predictor.network_inputs(rgb, reading, predictor.network_size(size))
    mask_x = torch.tensor([reading.origin == "missing"])
    network_hw = tuple(inputs[0].shape[-2:])
    with predictor.evaluating() as model:
        return with_enough_memory(
            lambda: compute(model, *inputs, target, mask_x, size),
            network_hw,
            inputs[0].device,
            "Make the RGB image smaller, or choose a smaller short_side.",
        )


def _check(model: KTB, rgb: Tensor) -> None:
    if len(rgb) != 1:
        raise ValueError(f"rgb holds {len(rgb)} pairs; attribution takes one pair at a time.")
    if model.training:
        raise ValueError("the model is in training mode, where dropout is random; call model.eval() first.")


def _check_size(model: KTB, tokens: Tensor) -> None:
    """Raise a ValueError if a backward pass, which keeps all attention scores, would need too much memory."""
    fusion = model.config.fusion
    if fusion.kind != "dscf":
        return
    tokens_hw, entries = tokens.shape[1:3], 0
    limit = MAX_GRAPH_ENTRIES if tokens.device.type == "cpu" else MAX_GPU_ENTRIES
    for level, (heads, stride) in enumerate(zip(fusion.num_heads, fusion.strides)):
        height, width = (math.ceil(side / 2**level) for side in tokens_hw)
        entries += heads * height * width * 2 * math.ceil(height / stride) * math.ceil(width / stride)
    if entries > limit:
        raise ValueError(
            f"the network's input of {4 * tokens_hw[0]} x {4 * tokens_hw[1]} pixels is too large for "
            f"attribution, which keeps {entries / 1e6:.0f} million attention scores (at most "
            f"{limit / 1e6:.0f}). Crop the RGB image, or choose a smaller short_side."
        )


def _without(tokens: Tensor, stream: str) -> Tensor:
    rgb, x = split_streams(tokens)
    return torch.cat([torch.zeros_like(rgb), x] if stream == "rgb" else [rgb, torch.zeros_like(x)])


def _fused(model: KTB, tokens: Tensor) -> Tensor:
    """Fused logits (1, K, h, w) at the head's own size."""
    return model.from_tokens(tokens, tuple(tokens.shape[1:3]), branches=("fused",)).fused


def _choose(model: KTB, logits: Tensor, target: Target, image_hw: tuple[int, int]) -> tuple[int, Tensor, str]:
    """Class, weights (h, w) of the positions, which sum to 1, and a description of the location."""
    index, labels = target.class_index, logits.argmax(dim=0)
    if index is not None and not 0 <= index < len(logits):
        raise ValueError(f"class {index} does not exist: the model has classes 0 to {len(logits) - 1}.")
    if target.kind == "class":
        covered, where = _places_of(model, logits, index, image_hw), "where it is predicted"
    elif target.kind == "pixel":
        check_pixel(target.pixel, image_hw)
        covered, where = torch.zeros_like(labels, dtype=torch.float32), "at ({}, {})".format(*target.pixel)
        covered[cell_at(tuple(labels.shape), at_of_pixel(target.pixel, image_hw))] = 1
        index = _shown_at(logits, target.pixel, image_hw) if index is None else index
    else:
        covered, where = _coverage(target.region, image_hw, labels), "over the region"
    if index is None:
        votes = torch.zeros(len(logits), device=logits.device)
        index = int(votes.index_add_(0, labels.flatten(), covered.flatten()).argmax())
    return index, covered / covered.sum(), where


def _places_of(model: KTB, logits: Tensor, index: int, image_hw: tuple[int, int]) -> Tensor:
    """Positions (h, w) where a class is predicted, or the coverage by its pixels if it wins at none."""
    labels = logits.argmax(dim=0)
    if (labels == index).any():
        return (labels == index).float()
    mask = labels_of(Upsampling(_at_network_size(logits), tuple(image_hw))).cpu().numpy()
    if not (mask == index).any():
        present = ", ".join(_class_name(model, int(i)) for i in np.unique(mask))
        raise ValueError(f"{_class_name(model, index)} is predicted nowhere; choose one of: {present}.")
    return _coverage(mask == index, image_hw, labels)


def _shown_at(logits: Tensor, pixel: tuple[int, int], image_hw: tuple[int, int]) -> int:
    """The class of the mask at a pixel, which can differ from that of its position near an edge."""
    return int(read_bilinear(_at_network_size(logits)[0], pixel, image_hw).argmax())


def _at_network_size(logits: Tensor) -> Tensor:
    """Upsample the head's logits (K, h, w) to (1, K, H, W), as the predictor does for masks."""
    network_hw = [HEAD_STRIDE * side for side in logits.shape[1:]]
    return F.interpolate(logits[None].float(), network_hw, mode="bilinear", align_corners=False)


def _coverage(region: np.ndarray, image_hw: tuple[int, int], labels: Tensor) -> Tensor:
    """Fraction of each position (h, w) covered by the region."""
    region = np.asarray(region)
    if region.dtype != bool or region.shape != tuple(image_hw):
        raise ValueError(
            f"the region has shape {region.shape} and dtype {region.dtype}; give a bool array of the image's "
            f"size, {tuple(image_hw)}."
        )
    if not region.any():
        raise ValueError("the region is empty; mark at least one pixel.")
    covered = torch.from_numpy(region).float()[None, None].to(labels.device)
    return F.adaptive_avg_pool2d(covered, tuple(labels.shape))[0, 0]


def _class_name(model: KTB, index: int) -> str:
    classes = model.config.classes
    return classes[index] if index < len(classes) else f"class {index}"
