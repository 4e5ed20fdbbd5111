"""Score a model.

    python -m training.evaluate --model FILE --dataset nyuv2 --data DIR --split test --out FILE.json

Protocol: the images are resized so that their short side is `size`, both sides up to multiples of 32
(bilinear); the logits are brought to the label's own resolution (bilinear) and scored there over the whole
split at once.
"""

import argparse
import json
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from ktb.checkpoint import load_model
from ktb.labels import DATASETS
from ktb.model import BRANCHES, KTB
from ktb.predictor import network_size, resize_for_network
from training.datasets import REGISTRY, build_dataset
from training.datasets.base import PairDataset, Sample
from training.metrics import ConfusionMatrix, Scores
from training.state import write_atomically

logger = logging.getLogger(__name__)


def evaluate(
    model: KTB,
    dataset: PairDataset,
    *,
    indices: Sequence[int] | None = None,
    size: int | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    bf16: bool = False,
    reference: bool = False,
    attention: bool = False,
) -> dict[str, Any]:
    """Score all three branches of a model on a dataset (or on `indices` of it), in percent.

    size: the short side in pixels that images are resized to (default: the model's, else the image's own).
    scales, flip: average the softmax over these sizes and the mirrored image; with one scale and no flip the
    plain logits decide. reference: the released scripts' protocol instead (labels resized with the images,
    absent classes count as IoU 0). attention: also the fusion's statistics per level.
    Returns {"fused", "rgb", "x": {"miou", "pixel_accuracy", "class_accuracy", "iou": {class: percent or
    None}}, "images", "protocol"[, "attention"]}. The model is left in eval mode. Raises ValueError if it
    predicts other classes than the dataset's.
    """
    if model.config.num_classes != dataset.num_classes:
        raise ValueError(
            f"The model predicts {model.config.num_classes} classes ({model.config.dataset or 'unnamed'}), "
            f"{dataset.name} has {dataset.num_classes}: choose the data set that the model was trained for."
        )
    model.eval()
    device = next(model.parameters()).device
    size = size or model.config.inputs.short_side
    indices = range(len(dataset)) if indices is None else indices
    matrices = {branch: ConfusionMatrix(dataset.num_classes) for branch in BRANCHES}
    statistics: list[torch.Tensor] = []
    for index in tqdm(indices, unit="image", desc="evaluate"):
        sample = dataset[index]
        label = torch.from_numpy(sample.label).long()
        if reference:
            height, width = network_size(sample.label.shape, _short_side(sample, size))
            label = F.interpolate(label[None, None].float(), (height, width)).long()[0, 0]
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            preds, trace = _predict(model, sample, label.shape, size, scales, flip, attention)
        for branch, pred in zip(BRANCHES, preds, strict=True):
            matrices[branch].update(pred.cpu(), label)
        if trace is not None:
            statistics.append(attention_statistics(trace))
    names = DATASETS[dataset.name].classes
    result: dict[str, Any] = {
        branch: _report(matrix.scores(absent_as_zero=reference), names) for branch, matrix in matrices.items()
    }
    result["images"] = len(indices)
    result["protocol"] = describe(size, scales, flip, bf16, reference)
    if statistics:
        means = torch.stack(statistics).mean(0).tolist()
        result["attention"] = [{"level": i, "entropy": e, "balance_std": s} for i, (e, s) in enumerate(means)]
    return result


def attention_statistics(trace: Iterable) -> torch.Tensor:
    """(levels, 2) float64: per fusion level mean normalised entropy, std of the balance map's pixels."""
    rows = [(level.entropy().double().mean(), level.balance().double().std()) for level in trace]
    return torch.tensor([[value.item() for value in row] for row in rows], dtype=torch.float64)


def describe(size: int | None, scales: Sequence[float], flip: bool, bf16: bool, reference: bool) -> str:
    """The protocol in one sentence, to stand beside a figure."""
    views = "single scale" if len(scales) == 1 and not flip else f"scales {', '.join(map(str, scales))}"
    views += ", flip" if flip else ""
    where = (
        "labels resized with the images, absent classes count as 0"
        if reference
        else ("scored at the label's own resolution, absent classes left out of the mean")
    )
    side = f"short side {size}" if size else "the images' own size"
    return f"{side}, sides up to multiples of 32, {views}, {'bfloat16' if bf16 else 'float32'}; {where}"


def _predict(
    model: KTB,
    sample: Sample,
    shape: Sequence[int],
    size: int | None,
    scales: Sequence[float],
    flip: bool,
    attention: bool,
) -> tuple[list[torch.Tensor], Iterable | None]:
    """Predicted classes (H, W) per branch at `shape`, and the first view's trace if wanted."""
    device = next(model.parameters()).device
    views = [(scale, mirrored) for scale in scales for mirrored in ((False, True) if flip else (False,))]
    sums: list[torch.Tensor] | None = None
    trace = None
    for number, (scale, mirrored) in enumerate(views):
        size_hw = network_size(sample.label.shape, _short_side(sample, size) * scale)
        rgb, modal_x = _network_input(model, sample, size_hw, device)
        if mirrored:
            rgb, modal_x = rgb.flip(-1), modal_x.flip(-1)
        if attention and number == 0:
            output = model(rgb, modal_x, trace=True)
            trace = output.trace
        else:
            output = model(rgb, modal_x)
        logits = [getattr(output, branch).float() for branch in BRANCHES]
        logits = [F.interpolate(v.flip(-1) if mirrored else v, tuple(shape), mode="bilinear") for v in logits]
        if len(views) > 1:
            logits = [v.softmax(1) for v in logits]
        sums = logits if sums is None else [a + b for a, b in zip(sums, logits, strict=True)]
    return [v.argmax(1)[0] for v in sums], trace


def _network_input(
    model: KTB, sample: Sample, size_hw: tuple[int, int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both images as `ktb.Predictor` prepares them: (1, 3, h, w) float32, normalised."""
    images = []
    for image in (sample.rgb, sample.modal_x):
        image = resize_for_network(image.astype(np.float32) / 255, size_hw)
        image = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)
        images.append(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(device))
    return model.normalize_rgb(images[0]), model.normalize_x(images[1])


def _short_side(sample: Sample, size: int | None) -> int:
    return size or min(sample.label.shape)


def _report(scores: Scores, names: Sequence[str]) -> dict[str, Any]:
    iou = {name: None if math.isnan(value) else value for name, value in zip(names, scores.iou, strict=True)}
    return {
        "miou": scores.miou,
        "pixel_accuracy": scores.pixel_accuracy,
        "class_accuracy": scores.class_accuracy,
        "iou": iou,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, evaluate and write the JSON file."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description="Score a model on a dataset."
    )
    parser.add_argument("--model", required=True, help="a model's name or its .safetensors file")
    parser.add_argument("--dataset", required=True, help=f"one of: {', '.join(REGISTRY)}")
    parser.add_argument("--data", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--size", type=int, help="short side in pixels (default: the model's own)")
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[1.0], help="e.g. 0.5 0.75 1 1.25 1.5 1.75"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image")
    parser.add_argument("--bf16", action="store_true", help="run the network in bfloat16")
    parser.add_argument("--limit", type=int, help="only the first N images")
    parser.add_argument("--protocol", choices=("ours", "reference"), default="ours")
    parser.add_argument("--attention", action="store_true", help="report the fusion's entropy and balance")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1, ..."
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        dataset = build_dataset(options.dataset, options.data, options.split)
        model = load_model(options.model).to(options.device)
        result = evaluate(
            model,
            dataset,
            indices=range(min(options.limit or len(dataset), len(dataset))),
            size=options.size,
            scales=options.scales,
            flip=options.flip,
            bf16=options.bf16,
            reference=options.protocol == "reference",
            attention=options.attention,
        )
    except ValueError as error:
        parser.error(str(error))
    result |= {"model": options.model, "dataset": options.dataset, "split": options.split}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, lambda path: path.write_text(json.dumps(result, indent=1) + "\n"))
    logger.info("mIoU: %s", ", ".join(f"{branch} {result[branch]['miou']:.2f}" for branch in BRANCHES))


if __name__ == "__main__":
    main()
