"""PyTorch in eager mode and with `torch.compile`."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence

import torch
from torch import Tensor

from ktb.config import BRANCHES
from ktb.inference.runtimes.base import Precision
from ktb.inference.runtimes.graph import (
    GraphModule,
    keep_input,
    logits_size,
    output_names,
    to_output,
)
from ktb.modeling.model import KTB, KTBOutput

COMPILERS = ("c++", "g++", "clang++", "cl")


def autocast(model: KTB, precision: Precision) -> contextlib.AbstractContextManager:
    """Autocast context for this precision on the model's device."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(next(model.parameters()).device.type, torch.bfloat16)


class EagerRuntime:
    """Runs `KTB.forward` in eager mode."""

    name = "eager"
    masks_tokens = True

    def __init__(self, model: KTB, precision: Precision, why: str):
        self._model = model
        self.precision, self.why = precision, why

    @torch.inference_mode()
    def __call__(
        self,
        rgb: Tensor,
        modal_x: Tensor,
        mask_rgb: Tensor | None = None,
        mask_x: Tensor | None = None,
        trace: bool = False,
        branches: Sequence[str] = BRANCHES,
    ) -> KTBOutput:
        """Compute a batch, see `ktb.inference.runtimes.Runtime`."""
        with autocast(self._model, self.precision):
            return self._model(
                rgb, modal_x, mask_rgb, mask_x, trace, logits_size(rgb.shape[-2:]), branches=branches
            )


class CompiledRuntime:
    """The network with `torch.compile`; the first call of each input size compiles, which takes minutes.

    Raises:
        ValueError: no C++ compiler is installed.
    """

    name = "compile"

    def __init__(self, model: KTB, precision: Precision, why: str):
        _require_compiler()
        self._model = model
        self.precision, self.why = precision, why
        self._names = output_names(model)
        self._compiled = torch.compile(GraphModule(model), dynamic=False)

    @torch.inference_mode()
    def __call__(
        self,
        rgb: Tensor,
        modal_x: Tensor,
        mask_rgb: Tensor | None = None,
        mask_x: Tensor | None = None,
        trace: bool = False,
        branches: Sequence[str] = BRANCHES,
    ) -> KTBOutput:
        """As `ktb.inference.runtimes.Runtime`."""
        keep = keep_input(len(rgb), mask_rgb, mask_x, rgb.device)
        with autocast(self._model, self.precision):
            tensors = self._compiled(rgb, modal_x, keep)
        return to_output(self._model, dict(zip(self._names, tensors)), trace, branches, self.name)


def _require_compiler() -> None:
    chosen = os.environ.get("CXX")
    if not any(map(shutil.which, (chosen,) if chosen else COMPILERS)):
        raise ValueError(
            f"the runtime compile needs a C++ compiler, but {chosen or ', '.join(COMPILERS)} is not on the "
            f"PATH. Install one (Debian, Ubuntu: apt install g++), set CXX, or choose the runtime eager."
        )
