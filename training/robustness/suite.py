"""The robustness suite: evaluate a model with a missing, corrupted, misaligned or badly lit modality.

Protocol: each condition is one evaluation of the split as in `training.evaluation.evaluator`, for the fused,
the rgb and the x branch. `training.robustness.corruptions` and the text above each table describe the
conditions. Random values are drawn per image from (seed, index) and are the same for all models and levels.
robustness.json is written after each condition, and a stopped run resumes from it.
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ktb.config import BRANCHES
from ktb.modeling.model import KTB
from ktb.utils.files import write_atomically
from training.data.datasets.base import PairDataset
from training.evaluation.evaluator import evaluate
from training.robustness.conditions import (
    CLEAN,
    MISSING,
    ONLY,
    VERSION,
    WAYS,
    Condition,
    select,
)
from training.robustness.report import write_curves, write_tables

logger = logging.getLogger(__name__)

FILE = "robustness.json"
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
    """Run the suite, or its remaining conditions, and write the files into the folder `out`.

    Args:
        indices, size, bf16, seed: as for `training.evaluation.evaluator.evaluate`.
        conditions: families ("x-shift") or single conditions ("x-shift/4"); None for all. Results
            already in `out` are kept and not computed again; the clean condition is always included.

    Returns:
        The content of robustness.json: "model", "settings" (weights, data, protocol), "conditions" {key:
        {"family", "level", "variant", branch: {"miou", "pixel_accuracy", "class_accuracy", "kept"}}} in
        percent; `kept` is relative to the clean mIoU, None if nothing is scored; "emm" {"tokens", "image":
        {branch: mean mIoU of rgb only, x only and both}} if all three are present; "skipped" {family:
        reason}.

    Raises:
        ValueError: an unknown condition, or `out` contains scores of another checkpoint or protocol.
    """
    wanted, skipped = select(conditions, dataset.modality)
    indices = range(len(dataset)) if indices is None else indices
    size = model.config.inputs.short_side if size is None else size
    settings = _settings(model, dataset, indices, size, bf16, seed)
    record = _open(out / FILE, settings)
    record["model"] = model.config.name
    record["skipped"] |= skipped
    for family, why in skipped.items():
        logger.warning("%s is skipped: %s", family, why)
    left = [condition for condition in wanted if condition.key not in record["conditions"]]
    if len(left) < len(wanted):
        logger.info("%d of %d conditions are already in %s", len(wanted) - len(left), len(wanted), out / FILE)
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
            ", ".join(f"{branch} {shown_score(row[branch]['miou'])}" for branch in BRANCHES),
            *divmod(math.ceil(seconds / 60), 60),
        )
    _save(record, out)
    write_curves(record, out)
    return record


def fingerprint(model: KTB) -> str:
    """sha256 of the configuration and all weights in memory, on any device."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def expected_mean(record: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """EMM: {way: {branch: mean mIoU over rgb only, x only, both}} for each complete way."""
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
    """The settings that must be equal for scores in one table."""
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
    """The record at `path`, or a new one; ValueError if it is damaged or has other settings."""
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
                f"{path} contains scores of {what} ({key} {found.get(key)!r}, now {value!r}): {remedy}"
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
        known = clean["miou"] and scores["miou"] is not None  # no fraction of a clean mIoU of 0
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


def shown_score(value: float | None) -> str:
    """A score in percent with two decimals, for the log."""
    return "not scored" if value is None else f"{value:.2f}"
