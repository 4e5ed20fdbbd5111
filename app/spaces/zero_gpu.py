"""ZeroGPU of Hugging Face Spaces: a card that is lent for single calls, which are made in another process.

Arguments and answers travel between the processes, so that only the network's own inputs and outputs do, as
arrays: everything before and after it is computed here, where no visitor's time on the card runs.
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
from ktb.inference.runtimes import Precision
from ktb.inference.runtimes.eager import EagerRuntime
from ktb.modeling.model import KTB, KTBOutput

LENT_DEVICE = "cuda"
START_SECONDS = 10
"""For a new process, the weights' way to the card and the choice of kernels. A guess: not measured there."""
SECONDS_OF_A_PASS = 0.05
"""Swin-B at 480 x 640, eager float32: 0.0485 s on an H100 (docs/speed.md). Not measured on ZeroGPU."""
PIXELS_OF_A_PASS = 480 * 640
MARGIN = 2
MAX_SECONDS = 120
PASSES_OF_AN_ATTRIBUTION = 5
"""Forward and backward count as three, then one without each sensor."""
T = TypeVar("T")


class ZeroGPURuntime:
    """PyTorch on a lent card, as a `ktb.inference.runtimes.Runtime`; without `torch.compile` and CUDA graphs.

    Args:
        model: on the card. It must be put there before the page is launched: Spaces keeps it for the calls.
        precision: in which it computes.

    Attributes:
        name, precision, why: as of every runtime.
        device: where it computes; what calls it stays on the CPU.
    """

    name = "eager"
    why = "Spaces lends a card for each call (ZeroGPU)."

    def __init__(self, model: KTB, precision: Precision = "float32"):
        self.precision: Precision = precision
        self._model = model
        self._on_card = next(model.parameters()).device
        self.device = self._on_card.type
        self._eager = EagerRuntime(model, precision, self.why)
        self._computed = lent(self._compute, seconds_of_run)
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
        """As `ktb.inference.runtimes.Runtime`, from tensors on the CPU to tensors on the CPU."""
        tensors = _each((rgb, modal_x, mask_rgb, mask_x), Tensor, _array)
        return _each(self._computed(*tensors, trace, tuple(branches)), np.ndarray, torch.from_numpy)

    def attribute(
        self,
        model: KTB,
        rgb: Tensor,
        modal_x: Tensor,
        target: Target,
        mask_x: Tensor | None,
        image_hw: tuple[int, int],
    ) -> Attribution:
        """As `ktb.analysis.attribution.attribute`; the model is this runtime's own, on the card."""
        tensors = _each((rgb, modal_x, mask_x), Tensor, _array)
        return self._attributed(*tensors, target, image_hw)

    # What follows runs in the other process.

    def _compute(self, *asked) -> KTBOutput:
        return _each(self._eager(*_each(asked, np.ndarray, self._to_card)), Tensor, _array)

    def _attribute(self, rgb, modal_x, mask_x, target: Target, image_hw: tuple[int, int]) -> Attribution:
        rgb, modal_x, mask_x = _each((rgb, modal_x, mask_x), np.ndarray, self._to_card)
        return attribute(self._model, rgb, modal_x, target, mask_x, image_hw)

    def _to_card(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._on_card)


def lent(task: Callable[..., T], seconds: Callable[..., int]) -> Callable[..., T]:
    """A task that runs on a lent card, in another process.

    Spaces would hide the text of an error there. What a user can mend and a lack of memory are therefore
    carried back and raised here.

    Args:
        task: gets and gives what can be pickled.
        seconds: for how long the card is asked for, from the same arguments. A task that takes longer is
            ended by Spaces; a visitor who has less time left today is refused.
    """
    import spaces

    def answering(*args) -> tuple[T | None, Exception | None]:
        try:
            return task(*args), None
        except (ValueError, torch.OutOfMemoryError) as error:
            return None, error

    on_card = spaces.GPU(duration=seconds)(answering)

    def ask(*args) -> T:
        answer, error = on_card(*args)
        if error is not None:
            raise error
        return answer

    return ask


def seconds_of_run(rgb: np.ndarray, *_: Any, passes: int = 1) -> int:
    """For how long a run of a batch (B, 3, H, W) asks for the card: 11 to 120 seconds.

    Time grows at most with the square of the pixels, as the fusion's attention does.
    """
    batch, _, height, width = rgb.shape
    computing = MARGIN * passes * batch * SECONDS_OF_A_PASS * (height * width / PIXELS_OF_A_PASS) ** 2
    return min(MAX_SECONDS, START_SECONDS + math.ceil(computing))


def seconds_of_attribution(rgb: np.ndarray, *_: Any) -> int:
    """The same for an attribution."""
    return seconds_of_run(rgb, passes=PASSES_OF_AN_ATTRIBUTION)


def _each(value: Any, kind: type, convert: Callable[[Any], Any]) -> Any:
    """A nest of dataclasses and tuples with every object of a kind converted."""
    if isinstance(value, kind):
        return convert(value)
    if isinstance(value, tuple):
        return tuple(_each(part, kind, convert) for part in value)
    if is_dataclass(value):
        parts = {field.name: _each(getattr(value, field.name), kind, convert) for field in fields(value)}
        return replace(value, **parts)
    return value


def _array(tensor: Tensor) -> np.ndarray:
    """By its values: a tensor would travel as shared memory of a process that may end first."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
