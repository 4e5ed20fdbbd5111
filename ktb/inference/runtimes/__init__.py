"""Runtimes: PyTorch, CUDA graphs, and exported graphs in OpenVINO or ONNX Runtime."""

from typing import TYPE_CHECKING

from ktb.utils.lazy import lazy_names

if TYPE_CHECKING:
    from ktb.inference.runtimes.base import Precision, Runtime, RuntimeName
    from ktb.inference.runtimes.select import device_for, make_runtime

__all__ = ["Precision", "Runtime", "RuntimeName", "device_for", "make_runtime"]
__getattr__ = lazy_names(
    __name__, {"base": ("Precision", "Runtime", "RuntimeName"), "select": ("device_for", "make_runtime")}
)
