"""Score a model when a modality is missing, damaged, misaligned or badly lit.

    python -m training.robustness --model FILE --dataset nyuv2 --data DIR --out DIR
    python -m training.robustness … --families missing x-shift --limit 50
    python -m training.robustness --show --dataset nyuv2 --data DIR --out DIR

Protocol: each condition is one evaluation of the split as in `training.evaluation.evaluator`, for the fused, the rgb and
the x branch; what a condition does is said in `training.robustness.corruptions` and above each table. Everything random
is drawn per image from (seed, index), the same for all models and levels. After each condition
DIR/robustness.json is written; a run that was stopped goes on from there.

Written: robustness.json, robustness.csv, robustness.md (tables), and a picture for each family.
"""

import argparse
import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import torch

from ktb.checkpoints.load import load_model
from ktb.config import BRANCHES
from ktb.modeling.model import KTB
from ktb.utils.atomic import write_atomically
from training.data.datasets import REGISTRY, build_dataset
from training.data.datasets.base import PairDataset
from training.engine.cpu import keep_freed_memory
from training.evaluate import open_dataset
from training.evaluation.evaluator import evaluate
from training.robustness.conditions import (
    CLEAN,
    FAMILIES,
    MISSING,
    ONLY,
    VERSION,
    WAYS,
    Condition,
    select,
)
from training.robustness.report import contact_sheet, write_curves, write_tables

logger = logging.getLogger(__name__)

FILE = "robustness.json"
CACHE_BYTES = 4 * 2**30  # of decoded frames that the command keeps in memory
SCORES = ("miou", "pixel_accuracy", "class_accuracy")


def run(
    model: KTB,
    dataset: PairDataset,
    out: Path,
    *,
    indices: Sequence[int] | None = None,
    size: int | None = None,
    bf16: bool = False,
    conditions: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Run the suite, or what is left of it, and write its files into the folder `out`.

    Args:
        indices, size, bf16, seed: as for `training.evaluation.evaluator.evaluate`.
        conditions: families ("x-shift") or single conditions ("x-shift/4"); None for all. What `out` holds
            already stays and is not run again; the clean condition always belongs to it.

    Returns:
        What robustness.json holds: "model", "settings" (weights, data, protocol), "conditions" {key:
        {"family", "level", "variant", branch: {"miou", "pixel_accuracy", "class_accuracy", "kept"}}} in
        percent, `kept` being the share of the clean mIoU, None where nothing is scored; "emm" {"tokens",
        "image": {branch: mean mIoU of rgb only, x only and both}} when these are there; "skipped" {family:
        why}.

    Raises:
        ValueError: an unknown condition, or `out` holds figures of another checkpoint or protocol.
    """
    wanted, skipped = select(conditions, dataset.modality)
    indices = range(len(dataset)) if indices is None else indices
    size = model.config.inputs.short_side if size is None else size
    settings = _settings(model, dataset, indices, size, bf16, seed)
    record = _open(out / FILE, settings)
    record["model"] = model.config.name
    record["skipped"] |= skipped
    for family, why in skipped.items():
        logger.warning("%s is left out: %s", family, why)
    left = [condition for condition in wanted if condition.key not in record["conditions"]]
    if len(left) < len(wanted):
        logger.info("%d of %d conditions are in %s already", len(wanted) - len(left), len(wanted), out / FILE)
    started = time.monotonic()
    for done, condition in enumerate(left):
        result = evaluate(
            model,
            dataset,
            indices=indices,
            size=size,
            bf16=bf16,
            seed=seed,
            progress=progress,
            **condition.arguments(),
        )
        _add(record, condition, result)
        _save(record, out)
        seconds = (time.monotonic() - started) / (done + 1) * (len(left) - done - 1)
        row = record["conditions"][condition.key]
        logger.info(
            "%d/%d %s: mIoU %s; about %d:%02d h left",
            len(wanted) - len(left) + done + 1,
            len(wanted),
            condition.key,
            ", ".join(f"{branch} {_shown(row[branch]['miou'])}" for branch in BRANCHES),
            *divmod(math.ceil(seconds / 60), 60),
        )
    _save(record, out)
    write_curves(record, out)
    return record


def fingerprint(model: KTB) -> str:
    """sha256 of the configuration and all weights as they are in memory, on whatever device."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def expected_mean(record: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """EMM: {way: {branch: mean mIoU over rgb only, x only, both}} of the ways that are complete."""
    rows = record["conditions"]
    means: dict[str, dict[str, float | None]] = {}
    for way in WAYS:
        keys = [CLEAN, *(Condition(MISSING, only, way).key for only in ONLY)]
        if all(key in rows for key in keys):
            values = {branch: [rows[key][branch]["miou"] for key in keys] for branch in BRANCHES}
            means[way] = {b: None if None in v else sum(v) / len(v) for b, v in values.items()}
    return means


def _settings(
    model: KTB, dataset: PairDataset, indices: Sequence[int], size: int | None, bf16: bool, seed: int
) -> dict[str, Any]:
    """What must be equal for figures to stand in one table."""
    names = "\n".join(dataset.names[index] for index in indices)
    return {
        "suite": VERSION,
        "weights_sha256": fingerprint(model),
        "dataset": dataset.name,
        "split": dataset.split,
        "modality": dataset.modality,
        "images": len(indices),
        "frames_sha256": hashlib.sha256(names.encode()).hexdigest(),
        "size": size,
        "bf16": bf16,
        "seed": seed,
    }


def _open(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The record at `path` or a new one; ValueError if it is damaged or of other settings."""
    if not path.exists():
        return {"settings": dict(settings), "conditions": {}, "skipped": {}, "emm": {}}
    remedy = "choose another folder, or remove this file to start again."
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found, *_ = (dict(record[key]) for key in ("settings", "conditions", "skipped", "emm"))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no record of this suite ({error!r}): {remedy}") from error
    for key, value in settings.items():
        if found.get(key) != value:
            what = "another checkpoint" if key == "weights_sha256" else f"another {key}"
            raise ValueError(
                f"{path} holds figures of {what} ({key} {found.get(key)!r}, now {value!r}): {remedy}"
            )
    return record


def _add(record: dict[str, Any], condition: Condition, result: Mapping[str, Any]) -> None:
    row: dict[str, Any] = {
        "family": condition.family,
        "level": condition.level,
        "variant": condition.variant,
    }
    for branch in BRANCHES:
        scores = {key: _number(result[branch][key]) for key in SCORES}
        clean = scores if condition.family == CLEAN else record["conditions"][CLEAN][branch]
        known = clean["miou"] and scores["miou"] is not None  # a clean mIoU of 0 has no share
        row[branch] = {**scores, "kept": 100 * scores["miou"] / clean["miou"] if known else None}
    if condition.family == CLEAN:
        record["protocol"] = result["protocol"]
        iou = result["fused"]["iou"].values()
        record["classes"] = {"all": len(iou), "scored": sum(value is not None for value in iou)}
    record["conditions"][condition.key] = row
    record["emm"] = expected_mean(record)


def _save(record: Mapping[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    write_atomically(out / FILE, lambda path: path.write_text(text, encoding="utf-8"))
    write_tables(record, out)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _shown(value: float | None) -> str:
    return "not scored" if value is None else f"{value:.2f}"


def _cached(dataset: PairDataset, frames: int, name: str, data: Path | None) -> PairDataset:
    """The same dataset keeping its decoded frames in memory, if so many of them fit."""
    if frames * sum(array.nbytes for array in dataset[0][1:]) > CACHE_BYTES:
        return dataset
    return build_dataset(name, data, dataset.split, modality=dataset.modality, cache=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run the suite, or draw what its corruptions look like."""
    keep_freed_memory()
    parser = argparse.ArgumentParser(
        prog="python -m training.robustness", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", help="a model's name or its .safetensors file")
    parser.add_argument("--dataset", required=True, help=f"{', '.join(REGISTRY)}, or the YAML of own data")
    parser.add_argument("--data", type=Path, help="the dataset's folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--modality", help="what X is (default: what the model was trained on)")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write into, and to go on in")
    parser.add_argument(
        "--families", nargs="+", help=f"only these of {', '.join(FAMILIES)}, or conditions such as x-shift/4"
    )
    parser.add_argument("--limit", type=int, help="only the first N images")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th image")
    parser.add_argument("--size", type=int, help="short side in pixels (default: the model's own)")
    parser.add_argument("--bf16", action="store_true", help="run the network in bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1, ..."
    )
    parser.add_argument(
        "--show", type=int, nargs="?", const=0, metavar="INDEX",
        help="only draw every corruption of this sample (default: the first) into corruptions.png",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.show is None and not options.model:
        parser.error("give --model, or --show to look at the corruptions")
    if options.limit is not None and options.limit < 1:
        parser.error(f"--limit {options.limit}: give at least 1 image")
    if options.every < 1:
        parser.error(f"--every {options.every}: give 1 for all images, 2 for every other one, ...")
    try:
        if options.show is not None:
            dataset = build_dataset(options.dataset, options.data, options.split, modality=options.modality)
            _show(dataset, options.show, options.out, options.seed)
            return
        model = load_model(options.model).to(options.device)
        dataset = open_dataset(model, options.dataset, options.data, options.split, options.modality)
        indices = range(0, len(dataset), options.every)[: options.limit]
        record = run(
            model,
            _cached(dataset, len(indices), options.dataset, options.data),
            options.out,
            indices=indices,
            size=options.size,
            bf16=options.bf16,
            conditions=options.families,
            seed=options.seed,
        )
    except ValueError as error:
        parser.error(str(error))
    for way, means in record["emm"].items():
        logger.info("EMM (%s): %s", way, ", ".join(f"{b} {_shown(v)}" for b, v in means.items()))
    logger.info("tables and pictures: %s", options.out)


def _show(dataset: PairDataset, index: int, out: Path, seed: int) -> None:
    if not 0 <= index < len(dataset):
        raise ValueError(f"--show {index}: choose a sample in 0..{len(dataset) - 1}.")
    sheet = contact_sheet(dataset[index], dataset.modality, index=index, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", sheet[..., ::-1])
    assert done
    write_atomically(out / "corruptions.png", lambda path: path.write_bytes(data.tobytes()))
    logger.info("%s", out / "corruptions.png")
