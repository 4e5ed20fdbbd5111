"""ZeroGPU of Hugging Face Spaces: a GPU is lent for single calls, which run in another process.

Only the network's inputs and outputs are sent between the processes, as arrays. Pre- and postprocessing run
in this process, where they do not use a visitor's GPU quota.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ktb.analysis.attribution import attribute
from ktb.analysis.targets import Target
from ktb.analysis.types import Attribution
from ktb.config import BRANCHES
from ktb.inference.predictor import balance_only
from ktb.inference.runtimes import Precision
from ktb.inference.runtimes.eager import EagerRuntime
from ktb.modeling.model import KTB, KTBOutput

LENT_DEVICE = "cuda"
START_SECONDS = 10
"""Seconds for a new process, transferring the weights and choosing kernels. An unmeasured estimate."""
SECONDS_OF_A_PASS = 0.05
"""Swin-B at 480 x 640, eager float32: 0.0485 s on an H100 (docs/speed.md). Not measured on ZeroGPU."""
PIXELS_OF_A_PASS = 480 * 640
MARGIN = 2
MAX_SECONDS = 120
MAX_FRAMES = 12
"""Frames of a video in one call, within MAX_SECONDS_OF_FRAMES."""
MAX_SECONDS_OF_FRAMES = 30
PASSES_OF_AN_ATTRIBUTION = 5
"""Forward and backward count as three, then one without each sensor."""
T = TypeVar("T")


class ZeroGPURuntime:
    """PyTorch on a lent GPU, as a `ktb.inference.runtimes.Runtime`; without `torch.compile` and CUDA graphs.

    Args:
        model: a model on the GPU. It must be moved there before the launch: Spaces keeps it for the calls.
        precision: the floating-point precision.

    Attributes:
        name, precision, why: as in every runtime.
        device: the GPU of the calls; the caller's tensors stay on the CPU.
    """

    name = "eager"
    masks_tokens = True
    why = "Spaces lends a GPU for each call (ZeroGPU)."

    def __init__(self, model: KTB, precision: Precision = "float32"):
        self.precision: Precision = precision
        self._model = model
        self._on_card = next(model.parameters()).device
        self.device = self._on_card.type
        self._eager = EagerRuntime(model, precision, self.why)
        self._computed = lent(self._compute, seconds_of_run)
        self._balanced = lent(self._compute_balance, seconds_of_run)
        self._attributed = lent(self._attribute, seconds_of_attribution)

    def __call__(
        self,
        rgb: Tensor,
        modal_x: Tensor,
        mask_rgb: Tensor | None = None,
        mask_x: Tensor | None = None,
        trace: bool = False,
        branches: Sequence[str] = BRANCHES,
    ) -> KTBOutput:
        """As `ktb.inference.runtimes.Runtime`; input and output tensors are on the CPU."""
        tensors = _each((rgb, modal_x, mask_rgb, mask_x), Tensor, _array)
        return _each(self._computed(*tensors, trace, tuple(branches)), np.ndarray, torch.from_numpy)

    def with_balance(
        self, rgb: Tensor, modal_x: Tensor, mask_rgb: Tensor | None = None, mask_x: Tensor | None = None
    ) -> tuple[KTBOutput, tuple[Tensor, ...]]:
        """As `ktb.inference.predictor.balance_only` of a call; the traces do not leave the other process."""
        tensors = _each((rgb, modal_x, mask_rgb, mask_x), Tensor, _array)
        return _each(self._balanced(*tensors), np.ndarray, torch.from_numpy)

    def frames_at_once(self, network_hw: tuple[int, int]) -> int:
        """As many frames as one call computes within MAX_SECONDS_OF_FRAMES, 1 to MAX_FRAMES."""
        fitting = [n for n in range(1, MAX_FRAMES + 1) if seconds(n, network_hw) <= MAX_SECONDS_OF_FRAMES]
        return max(fitting, default=1)

    def attribute(
        self,
        model: KTB,
        rgb: Tensor,
        modal_x: Tensor,
        target: Target,
        mask_x: Tensor | None,
        image_hw: tuple[int, int],
    ) -> Attribution:
        """As `ktb.analysis.attribution.attribute`, with this runtime's own model on the GPU."""
        tensors = _each((rgb, modal_x, mask_x), Tensor, _array)
        return self._attributed(*tensors, target, image_hw)

    # The following methods run in the other process.

    def _compute(self, *asked) -> KTBOutput:
        return _each(self._eager(*_each(asked, np.ndarray, self._to_gpu)), Tensor, _array)

    def _compute_balance(self, *asked) -> tuple[KTBOutput, tuple[np.ndarray, ...]]:
        given = _each(asked, np.ndarray, self._to_gpu)
        return _each(balance_only(self._eager(*given, trace=True)), Tensor, _array)

    def _attribute(self, rgb, modal_x, mask_x, target: Target, image_hw: tuple[int, int]) -> Attribution:
        rgb, modal_x, mask_x = _each((rgb, modal_x, mask_x), np.ndarray, self._to_gpu)
        return attribute(self._model, rgb, modal_x, target, mask_x, image_hw)

    def _to_gpu(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._on_card)


def lent(task: Callable[..., T], duration: Callable[..., int]) -> Callable[..., T]:
    """Wrap a task to run on a lent GPU, in another process.

    Spaces hides the message of an error of the other process. User errors and out-of-memory errors are
    therefore returned and raised in this process.

    Args:
        task: a function with picklable arguments and results.
        duration: the requested GPU time in seconds, from the same arguments. Spaces ends a task that takes
            longer, and refuses a visitor with less remaining quota.
    """
    import spaces

    def run(*args) -> tuple[T | None, Exception | None]:
        try:
            return task(*args), None
        except (ValueError, torch.OutOfMemoryError) as error:
            return None, error

    on_gpu = spaces.GPU(duration=duration)(run)

    def call(*args) -> T:
        result, error = on_gpu(*args)
        if error is not None:
            raise error
        return result

    return call


def seconds_of_run(rgb: np.ndarray, *_: Any, passes: int = 1) -> int:
    """The requested GPU time of a run on a batch (B, 3, H, W): 11 to 120 seconds.

    The time grows at most with the square of the number of pixels, as in the fusion's attention.
    """
    batch, _, *network_hw = rgb.shape
    return min(MAX_SECONDS, seconds(passes * batch, network_hw))


def seconds(passes: int, network_hw: Sequence[int]) -> int:
    """Estimated GPU time of passes of one pair of this size, with the start."""
    pixels = network_hw[0] * network_hw[1] / PIXELS_OF_A_PASS
    return START_SECONDS + math.ceil(MARGIN * passes * SECONDS_OF_A_PASS * pixels**2)


def seconds_of_attribution(rgb: np.ndarray, *_: Any) -> int:
    """The requested GPU time of an attribution."""
    return seconds_of_run(rgb, passes=PASSES_OF_AN_ATTRIBUTION)


def _each(value: Any, kind: type, convert: Callable[[Any], Any]) -> Any:
    """Convert every object of a type in nested dataclasses and tuples."""
    if isinstance(value, kind):
        return convert(value)
    if isinstance(value, tuple):
        return tuple(_each(part, kind, convert) for part in value)
    if is_dataclass(value):
        parts = {field.name: _each(getattr(value, field.name), kind, convert) for field in fields(value)}
        return replace(value, **parts)
    return value


def _array(tensor: Tensor) -> np.ndarray:
    """Copy to an array: a tensor would be sent as shared memory of a process that may end first."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
