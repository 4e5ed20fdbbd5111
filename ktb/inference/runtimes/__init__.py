"""How a network is computed: PyTorch, or a graph of it that OpenVINO or ONNX Runtime computes faster."""

from typing import TYPE_CHECKING

from ktb.utils.lazy import lazy_names

if TYPE_CHECKING:
    from ktb.inference.runtimes.base import Precision, Runtime, RuntimeName
    from ktb.inference.runtimes.select import make_runtime

__all__ = ["Precision", "Runtime", "RuntimeName", "make_runtime"]
__getattr__ = lazy_names(
    __name__, {"base": ("Precision", "Runtime", "RuntimeName"), "select": ("make_runtime",)}
)
