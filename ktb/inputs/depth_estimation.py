"""Monocular depth estimation by Depth Anything V2 Small, for users without a depth camera.

It needs the optional package `transformers`, and its weights in the cache or from the hub. Every output
marks an estimate as such: it contains no information beyond the RGB image.
"""

from __future__ import annotations

import importlib.util
import os
import urllib.request
from pathlib import Path

import numpy as np

from ktb.inputs.limits import InputError
from ktb.inputs.types import RawX
from ktb.utils.cache import OFFLINE_VARIABLES, is_offline

METRIC = "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf"
RELATIVE = "depth-anything/Depth-Anything-V2-Small-hf"
PROBE_SECONDS = 5
ASSUMED_METRES = (1.0, 6.0)
"""Assumed distances in metres of the 1st and 99th percentile of an estimate without scale."""


def unavailable_reason() -> str:
    """The reason why depth estimation is unavailable on this machine, "" if none is known."""
    if reason := _missing_package():
        return reason
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") and not cached_model():
        return f"the weights of {METRIC} are not in the cache, and HF_HUB_OFFLINE forbids fetching them"
    return ""


def is_available() -> bool:
    """Whether depth estimation seems available, determined without loading the model."""
    return not unavailable_reason()


def cached_model() -> str | None:
    """The first known model whose weights are on this machine; the metric one is preferred."""
    from huggingface_hub import try_to_load_from_cache

    for name in (METRIC, RELATIVE):
        if isinstance(try_to_load_from_cache(name, "model.safetensors"), str):
            return name
    return None


class DepthEstimator:
    """Depth Anything V2, loaded once.

    Args:
        model: name on the Hugging Face hub, or a folder; by default a cached model, else the metric indoor
            model of the small size.
        device: such as "cpu" or "cuda".

    Raises:
        InputError: `transformers` is missing, or the weights are neither cached nor downloadable.
    """

    def __init__(self, model: str | Path | None = None, device: str = "cpu") -> None:
        if reason := _missing_package() if model else unavailable_reason():
            raise InputError(reason)
        self.name = str(model or cached_model() or METRIC)
        self._processor, self._network = _load(self.name)
        self._network.eval().to(device)
        self.device = device

    def __call__(self, rgb: np.ndarray) -> RawX:
        """Estimate depth in metres, (H, W) float32, from an RGB image (H, W, 3) uint8; origin "estimated"."""
        import torch

        with torch.inference_mode():
            batch = self._processor(images=rgb, return_tensors="pt").to(self.device)
            output = self._network(**batch)
            (answer,) = self._processor.post_process_depth_estimation(output, target_sizes=[rgb.shape[:2]])
        values = answer["predicted_depth"].float().cpu().numpy()
        is_metric = self._network.config.depth_estimation_type == "metric"
        near, far = ASSUMED_METRES
        scale = "metric, by the model" if is_metric else f"assumed: {near:g} to {far:g} m"
        short = Path(self.name).name
        return RawX(
            values if is_metric else metres_from_inverse(values, near, far),
            "estimated from the RGB image",
            f"depth estimated by {short}",
            facts={"estimated by": short, "scale": scale},
            notes=(
                f"The depth is ESTIMATED from the RGB image by {short}, not measured: it adds nothing that "
                "the RGB image does not show.",
            ),
            origin="estimated",
            guessed={} if is_metric else {"unit": "m"},
        )


def metres_from_inverse(inverse: np.ndarray, near: float, far: float) -> np.ndarray:
    """Convert inverse depth of unknown scale to metres: 99th percentile to `near`, 1st to `far`."""
    low, high = np.percentile(inverse, (1, 99))
    if not high > low:
        return np.full(inverse.shape, (near + far) / 2, np.float32)
    share = np.clip((inverse - low) / (high - low), 0, 1)
    return (1 / (1 / far + share * (1 / near - 1 / far))).astype(np.float32)


def _missing_package() -> str:
    if importlib.util.find_spec("transformers") is None:
        return "estimating depth needs the package transformers: pip install transformers"
    return ""


def _load(name: str):
    """Image processor and network, from the cache if available."""
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    def pretrained(local: bool):
        return (
            AutoImageProcessor.from_pretrained(name, local_files_only=local),
            AutoModelForDepthEstimation.from_pretrained(name, local_files_only=local, use_safetensors=True),
        )

    try:
        return pretrained(local=True)
    except (OSError, ValueError) as error:  # not cached, or not such a model
        reason = str(error).strip().splitlines()[0]
    if not Path(name).exists() and (reason := _unreachable(name)) == "":
        try:
            return pretrained(local=False)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
    raise InputError(
        f"the weights of {name} are neither in the cache nor reachable ({reason}); fetch them once with a "
        f"network: hf download {name}"
    )


def _unreachable(name: str) -> str:
    """The reason why the hub cannot provide a model, or ""; the hub's own client retries for minutes."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or is_offline():
        return f"{' or '.join(OFFLINE_VARIABLES)} is set"
    request = urllib.request.Request(f"{constants.ENDPOINT}/{name}/resolve/main/config.json", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return ""
    except OSError as error:
        return str(getattr(error, "reason", error))
