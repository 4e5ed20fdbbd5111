"""Bundle: everything that a viewer needs to inspect one run, in one safetensors file.

The file holds what a viewer shows directly (labels, confidences, X, maps) and what it computes an attention
row from (queries, keys, points, position bias), so that it needs no server. docs/bundle.md describes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from ktb.analysis import Inspection, LevelMaps
from ktb.analysis.describe import describe_level
from ktb.analysis.faithfulness import image_scores, reliance
from ktb.config import BRANCHES, HEADS
from ktb.inference.prediction import Drop, Prediction
from ktb.inputs.encode import EncodedX, preview_range
from ktb.inputs.encoders.depth_units import depth_unit_name
from ktb.inputs.types import MeasuredValues
from ktb.outputs.layers import (
    Layer,
    heads_layer,
    layer_arrays,
    layer_header,
    resized_labels,
    rests_on_layer,
)
from ktb.visualize import color_table

FORMAT = 1
"""Version of the format; a reader refuses others."""
HEADER = "ktb_bundle"
"""The only key of the file's metadata: the header, a JSON text."""
MAX_PIXELS = 2_100_000  # 1920 × 1080
"""Images with more pixels are stored smaller, at most at this size."""
THOUSANDTHS = 1000
"""Confidences and margins are stored as integers, in units of 1/1000."""
LEVEL_MAPS = (
    "balance", "head_balance", "entropy", "sparse_share", "residual_share", "importance_map", "density_map",
    "prompt_rgb", "prompt_x",
)  # fmt: skip
"""Maps of a level, by the names of `LevelMaps`."""
FRACTIONS = ("balance", "head_balance", "entropy", "sparse_share", "residual_share")
"""Maps between 0 and 1, for which half precision is exact to 0.0003."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle in memory.

    Attributes:
        arrays: name → array, as docs/bundle.md lists them.
        header: JSON-compatible description of the run: model, classes, palette, sizes, X, levels.
    """

    arrays: Mapping[str, np.ndarray]
    header: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """As a safetensors file; equal bundles give equal bytes."""
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        return save(arrays, {HEADER: json.dumps(self.header, sort_keys=True)})


def make_bundle(
    rgb: np.ndarray,
    prediction: Prediction,
    *,
    inspection: Inspection | None = None,
    ablated: Mapping[Drop, Prediction] | None = None,
    with_details: bool = True,
) -> Bundle:
    """Collect the results of one run.

    Args:
        rgb: (H, W, 3) uint8, the RGB image of the prediction.
        prediction: with or without a trace; without one, the bundle has no levels.
        inspection: an inspection of this prediction, whose cached maps are reused.
        ablated: predictions of the same pair with a sensor ablated, by the ablated sensor.
        with_details: whether the bundle has confidences, margins and the levels of the trace, which
            `details_bundle` adds.

    Raises:
        ValueError: `rgb` or an ablated prediction has another size than the prediction.
    """
    size = prediction.labels["fused"].shape
    for name, found in {"rgb": rgb.shape[:2], **_sizes(ablated)}.items():
        if tuple(found) != size:
            raise ValueError(f"{name} has {found} (height, width), but the prediction has {size}.")
    shown = stored_size(size)
    ablated = ablated or {}
    arrays = {"rgb": _area(rgb, shown), "x": _area(prediction.x.preview, shown)}
    arrays |= {
        f"labels.{branch}": resized_labels(prediction.labels[branch], shown) for branch in BRANCHES
    } | _ablation_arrays(ablated, shown)
    layers = [heads_layer(prediction), *_measured(prediction, ablated)]
    arrays |= layer_arrays(layers, shown)
    measured = _measured_x(prediction.x)
    if measured is not None:
        arrays["x_values"] = resized_labels(measured.values.astype(np.float32), shown)
    for cmap in ("sequential", "diverging"):
        arrays[f"colors.{cmap}"] = color_table(cmap)
    header = _header(prediction, shown, layers, tuple(ablated)) | {"levels": [], "details_follow": True}
    if prediction.trace and (with_details or ablated):
        inspection = inspection or Inspection(prediction)
    if ablated:
        header["faithfulness"] = _faithfulness(prediction, inspection, ablated)
    if with_details:
        details = details_bundle(prediction, inspection)
        arrays |= details.arrays
        header |= {name: details.header[name] for name in ("levels", "details_follow")}
    return Bundle(arrays, header)


def details_bundle(prediction: Prediction, inspection: Inspection | None = None) -> Bundle:
    """A bundle that adds confidences, margins and the levels of the trace to the bundle of a run.

    Args:
        prediction: that of the run.
        inspection: of the prediction, whose cached maps are reused; None: made here.
    """
    shown = stored_size(prediction.size_hw)
    arrays, levels = _certainties(prediction, shown), []
    if prediction.trace:
        found, levels = _levels(inspection or Inspection(prediction))
        arrays |= found
    return Bundle(arrays, _added([]) | {"levels": levels, "details_follow": False})


def ablation_bundle(
    prediction: Prediction, ablated: Mapping[Drop, Prediction], inspection: Inspection | None = None
) -> Bundle:
    """A bundle that adds the predictions with a sensor ablated to the bundle of a run.

    Args:
        ablated: predictions of the same pair, by the ablated sensor.
        inspection: of the prediction, whose cached maps are scored; None: made here.
    """
    layers, shown = _measured(prediction, ablated), stored_size(prediction.size_hw)
    arrays = _ablation_arrays(ablated, shown) | layer_arrays(layers, shown)
    inspection = inspection or (Inspection(prediction) if prediction.trace else None)
    scores = _faithfulness(prediction, inspection, ablated)
    return Bundle(arrays, _added(layers) | {"ablated": list(ablated), "faithfulness": scores})


def layers_bundle(layers: Sequence[Layer], size_hw: tuple[int, int], **header: Any) -> Bundle:
    """A bundle that adds layers to the bundle of a run.

    Args:
        size_hw: size of the run's RGB image.
        header: further entries of the header, which replace those of the run.

    Raises:
        ValueError: labels or categories of a size that is neither `size_hw` nor its `stored_size`.
    """
    shown = stored_size(size_hw)
    for layer in layers:
        if layer.kind != "signed" and layer.values.shape not in (tuple(size_hw), shown):
            raise ValueError(
                f"layer {layer.name!r} has {layer.values.shape} (height, width), but the run has "
                f"{tuple(size_hw)}."
            )
    return Bundle(layer_arrays(layers, shown), _added(layers) | header)


def read_bundle(data: bytes) -> Bundle:
    """Read a bundle.

    Raises:
        ValueError: the bytes are not a bundle, or one of another format version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        header = json.loads(metadata.get(HEADER, "{}"))
    except (SafetensorError, ValueError) as error:
        raise ValueError("this is not a bundle: it is not a safetensors file.") from error
    if header.get("format") != FORMAT:
        raise ValueError(
            f"this is not a bundle of format {FORMAT}, but of {header.get('format', 'none')}; "
            "write it again with this version of KTB."
        )
    return Bundle(arrays, header)


def _ablation_arrays(ablated: Mapping[Drop, Prediction], shown: tuple[int, int]) -> dict[str, np.ndarray]:
    """Fused labels and confidences with a sensor ablated."""
    arrays = {}
    for drop, other in ablated.items():
        arrays[f"labels.without_{drop}"] = resized_labels(other.labels["fused"], shown)
        arrays[f"confidence.without_{drop}"] = _thousandths(resized_labels(other.confidences["fused"], shown))
    return arrays


def _measured(prediction: Prediction, ablated: Mapping[Drop, Prediction]) -> list[Layer]:
    return [rests_on_layer(prediction, ablated)] if {"rgb", "x"} <= set(ablated) else []


def _added(layers: Sequence[Layer]) -> dict[str, Any]:
    return {"format": FORMAT, "layers": [layer_header(layer) for layer in layers]}


def _certainties(prediction: Prediction, shown: tuple[int, int]) -> dict[str, np.ndarray]:
    """Confidences of all heads, the second-best class and the margin of the fused one, and reliances."""
    from ktb.inference.postprocess import second_best

    arrays = {
        f"confidence.{branch}": _thousandths(resized_labels(prediction.confidences[branch], shown))
        for branch in BRANCHES
    }
    temperature = prediction.temperatures["fused"]
    second, margin = second_best(
        prediction.logits["fused"], shown, via_hw=prediction.network_hw, temperature=temperature
    )
    arrays["second.fused"] = second.numpy()
    arrays["margin.fused"] = _thousandths(margin.numpy())
    if prediction.x.origin != "missing":
        arrays |= {
            f"reliance.{sensor}": _thousandths(reliance(prediction, sensor)) for sensor in get_args(Drop)
        }
    return arrays


def _faithfulness(
    prediction: Prediction, inspection: Inspection | None, ablated: Mapping[Drop, Prediction]
) -> dict[str, Any]:
    """Entry of the header: ablated sensor → map → its scores; {} without X, where maps describe no sensor."""
    if prediction.x.origin == "missing":
        return {}
    found = image_scores(prediction, inspection if prediction.trace else None, ablated)
    return {drop: {name: one.to_dict() for name, one in scores.items()} for drop, scores in found.items()}


def _levels(inspection: Inspection) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Arrays of all levels by name, and their entries in the header."""
    arrays, levels = {}, []
    for maps in inspection.all_maps():
        found, described = _level(inspection, maps)
        arrays |= {f"{name}.{maps.level}": array for name, array in found.items()}
        levels.append(described)
    return arrays, levels


def _level(inspection: Inspection, maps: LevelMaps) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays of a level, and its entry in the header."""
    trace = inspection.trace[maps.level]
    arrays = {
        name: found.astype(np.float16 if name in FRACTIONS else np.float32)
        for name in LEVEL_MAPS
        if (found := getattr(maps, name)) is not None
    }
    arrays |= {
        "query": _half(trace.query[0]),  # M, h·w, d
        "key": _half(trace.key[0]),  # M, 2n, d
        "points": maps.points.astype(np.float32),  # G, 2n, 2 as (y, x)
        "references": maps.references[0].astype(np.float32),  # 2n, 2
        "weight_x": maps.weight_x.astype(np.float32),  # 2n
        "bias_table": _half_if_exact(trace.bias_table),  # M, 119, 159
    }
    heads, _, channels = arrays["query"].shape
    described = {
        "grid": list(trace.query_hw),
        "point_grid": list(trace.point_hw),
        "stride": maps.stride,
        "heads": heads,
        "groups": len(maps.points),
        "channels_per_head": channels,
        "is_uniform": bool(maps.is_uniform),
        "description": describe_level(maps, "X"),
    }
    return arrays, described


def _header(
    prediction: Prediction,
    shown: tuple[int, int],
    layers: Sequence[Layer],
    ablated: tuple[Drop, ...],
) -> dict[str, Any]:
    measured = _measured_x(prediction.x)
    return {
        **prediction.summary(),
        **_added(layers),
        "ribbon": prediction.ribbon,
        "stored_size": {"height": shown[0], "width": shown[1]},
        "classes": list(prediction.classes),
        "palette": [list(color) for color in prediction.palette],
        "heads": dict(HEADS),
        "x_unit": measured.unit if measured else "",
        "x_range": _x_range(prediction.x),
        "depth": _depth(prediction),
        "camera": _camera(prediction, shown),
        "ablated": list(ablated),
    }


def _measured_x(x: EncodedX) -> MeasuredValues | None:
    return x.measured if x.depth is None else MeasuredValues(x.depth.metres, "m")


def _x_range(x: EncodedX) -> list[float] | None:
    """`preview_range` of X's measured values; None without any."""
    measured = _measured_x(x)
    if measured is None or not np.isfinite(measured.values).any():
        return None
    finite = measured.values[np.isfinite(measured.values)]
    return list(preview_range(finite, far_is_bright=x.depth is None))


def _depth(prediction: Prediction) -> dict[str, str] | None:
    """The unit of the depth file, and how sure it is; None without depth."""
    depth = prediction.x.depth
    if depth is None:
        return None
    sure = "estimated" if prediction.x.origin == "estimated" else depth.confidence
    return {"unit": depth_unit_name(depth.unit), "confidence": sure}


def _camera(prediction: Prediction, shown: tuple[int, int]) -> dict[str, Any] | None:
    """The depth camera for an image of the stored size; None without depth."""
    x = prediction.x
    if x.depth is None or x.camera is None:
        return None
    return {**x.camera.scaled(shown).to_dict(), "is_assumed": x.camera_is_assumed}


def _sizes(ablated: Mapping[Drop, Prediction] | None) -> dict[str, tuple[int, int]]:
    return {f"the prediction without {drop}": p.labels["fused"].shape for drop, p in (ablated or {}).items()}


def stored_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size (height, width) at which a bundle stores images of a size: at most `MAX_PIXELS`."""
    scale = min(1.0, (MAX_PIXELS / (size[0] * size[1])) ** 0.5)
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def _area(image: np.ndarray, shown: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == shown:
        return image
    import cv2

    return cv2.resize(image, shown[::-1], interpolation=cv2.INTER_AREA)


def _thousandths(fractions: np.ndarray) -> np.ndarray:
    return np.rint(fractions * THOUSANDTHS).astype(np.uint16)


def _half(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float16)


def _half_if_exact(tensor: Any) -> np.ndarray:
    """float16 where that changes no value, as of weights that were stored so; else float32."""
    values, half = tensor.detach().float().cpu().numpy(), _half(tensor)
    return half if np.array_equal(half.astype(np.float32), values) else values
