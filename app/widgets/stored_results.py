"""Stored results of the examples: the first masks of a page do not wait for the network.

`python -m tools.store_examples` writes a file per embedded checkpoint. A result is shown only if the
checkpoint and both images are those that it was computed from.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from app.results import Result, XView
from app.widgets.examples import EXAMPLES_FOLDER, Example
from ktb.config import BRANCHES, HEADS, ModelConfig
from ktb.inference.prediction import Branch, ClassRow, Prediction
from ktb.inputs import EncodedX
from ktb.outputs.bundle import Bundle, layers_bundle, stored_size
from ktb.outputs.layers import heads_layer, resized_labels
from ktb.utils.files import file_sha256
from ktb.visualize import color_table

FOLDER = EXAMPLES_FOLDER / "results"
NOTE = (
    "This is a stored result of the example: the masks of the same checkpoint and images, computed in "
    "advance. A run adds confidences, ablations and attention."
)


@dataclass(frozen=True)
class StoredPrediction(Prediction):
    """A prediction without logits, confidences and traces; `rows` is the class table of the fused head."""

    rows: tuple[ClassRow, ...] = ()

    def class_table(self, branch: Branch = "fused") -> list[ClassRow]:
        """As `Prediction.class_table`, of the fused head only."""
        assert branch == "fused", branch
        return list(self.rows)


def pack(checkpoint: Path, predictions: Mapping[Example, Prediction]) -> bytes:
    """A file of stored results, the same bytes for the same predictions.

    Args:
        checkpoint: the file of the model that made the predictions.
        predictions: by the example.
    """
    arrays: dict[str, np.ndarray] = {}
    examples: dict[str, Any] = {}
    for example, prediction in predictions.items():
        arrays[example.name] = np.stack([prediction.labels[branch] for branch in BRANCHES])
        examples[example.name] = {
            "sources": _sources(example),
            "rows": [asdict(row) for row in prediction.class_table()],
            "summary": prediction.x.summary,
            "warnings": list(prediction.x.warnings),
            "network_hw": list(prediction.network_hw),
        }
    meta = {"checkpoint": file_sha256(checkpoint), "examples": examples}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, meta=np.array(json.dumps(meta, sort_keys=True)), **arrays)
    return buffer.getvalue()


def stored_result(
    name: str, checkpoint: Path, config: ModelConfig, example: Example, rgb: np.ndarray
) -> Result | None:
    """The stored result of an example for a checkpoint; None if there is none, or an outdated one.

    Args:
        name: of the checkpoint as offered, which is that of the file of results.
        config: of the checkpoint.
        rgb: the example's RGB image, (H, W, 3) uint8.
    """
    file = FOLDER / f"{name}.npz"
    if not file.is_file() or example.name not in (kept := _read(file)):
        return None
    meta, labels = kept[example.name]
    if meta["checkpoint"] != _sha256(checkpoint) or meta["sources"] != _sources(example):
        return None
    reading = EncodedX(
        image=np.zeros((0, 0, 3), np.float32),
        preview=np.zeros((0, 0, 3), np.uint8),
        summary=meta["summary"],
        modality=config.inputs.modality,
        encoding=config.inputs.encoding,
        facts={},
        histogram=None,
        holes=None,
        depth=None,
        warnings=tuple(meta["warnings"]),
    )
    prediction = StoredPrediction(
        model=config.name,
        classes=config.classes,
        palette=config.palette,
        labels=dict(zip(BRANCHES, labels)),
        confidences={},
        x=reading,
        logits={},
        trace=None,
        prompts=None,
        network_hw=tuple(meta["network_hw"]),
        seconds=0.0,
        device="stored",
        temperatures=dict(zip(BRANCHES, config.temperatures)),
        expected=config.inputs.modality,
        rows=tuple(ClassRow(**row | {"color": tuple(row["color"])}) for row in meta["rows"]),
    )
    return Result(rgb, "", prediction, None, XView(reading), name)


def stored_bundle(result: Result, preview: np.ndarray) -> Bundle:
    """The bundle of a stored result: masks without confidences, levels and ablations.

    Args:
        preview: X as a picture, (H, W, 3) uint8, at the size of the RGB image.
    """
    prediction, size = result.prediction, result.rgb.shape[:2]
    header = {
        "model": prediction.model,
        "classes": list(prediction.classes),
        "palette": [list(color) for color in prediction.palette],
        "heads": dict(HEADS),
        "size": {"height": size[0], "width": size[1]},
        "stored_size": dict(zip(("height", "width"), stored_size(size))),
        "x": {"modality": prediction.x.modality, "origin": "measured"},
        "temperatures": dict(prediction.temperatures),
        "warnings": [NOTE],
        "is_stored": True,
        **dict.fromkeys(("ribbon", "camera"), None),
        **{"levels": [], "ablated": []},
    }
    made = layers_bundle([heads_layer(prediction)], size, **header)
    images = {"rgb": result.rgb, "x": preview}
    images |= {f"labels.{branch}": labels for branch, labels in prediction.labels.items()}
    stored = {name: resized_labels(image, stored_size(size)) for name, image in images.items()}
    stored |= {f"colors.{cmap}": color_table(cmap) for cmap in ("sequential", "diverging")}
    return replace(made, arrays={**made.arrays, **stored})


@cache
def _read(file: Path) -> dict[str, tuple[dict[str, Any], np.ndarray]]:
    """Per example what is stored of it, and its labels (3, H, W) uint8 of the branches."""
    with np.load(file, allow_pickle=False) as arrays:
        meta = json.loads(str(arrays["meta"]))
        return {
            name: ({**facts, "checkpoint": meta["checkpoint"]}, arrays[name])
            for name, facts in meta["examples"].items()
        }


def _sources(example: Example) -> list[str]:
    return [_sha256(example.rgb), _sha256(example.x)]


@cache
def _sha256(path: Path) -> str:
    """Of a file that does not change while the page runs."""
    return file_sha256(path)
