"""The interface of all runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from ktb.config import BRANCHES

if TYPE_CHECKING:  # torch takes more than a second to import
    from torch import Tensor

    from ktb.modeling.model import KTBOutput

RuntimeName = Literal["auto", "eager", "openvino", "onnx", "compile", "cudagraph"]
Precision = Literal["float32", "bfloat16"]
CPU_RUNTIMES: tuple[RuntimeName, ...] = ("openvino", "onnx")
"""Runtimes that compute on the CPU only."""


class Runtime(Protocol):
    """A backend that computes a network.

    Attributes:
        name: "eager", "openvino", "onnx", "compile" or "cudagraph".
        precision: of its computation, "float32" or "bfloat16".
        why: the reason for its selection, as a sentence.

    A runtime that computes on another device than the model's also has `device`, its type, such as "cuda".
    One whose calls cost much may have `frames_at_once`, (height, width) in the network → frames of a video in
    one batch, and `with_balance`, a call whose traces `ktb.inference.predictor.balance_only` reduces. One
    with `masks_tokens` True also takes masks (B, h, w) of single tokens.
    """

    name: RuntimeName
    precision: Precision
    why: str

    def __call__(
        self,
        rgb: Tensor,
        modal_x: Tensor,
        mask_rgb: Tensor | None = None,
        mask_x: Tensor | None = None,
        trace: bool = False,
        branches: Sequence[str] = BRANCHES,
    ) -> KTBOutput:
        """Compute `KTB.forward` with logits at a quarter of the size; thread-safe."""
        ...
