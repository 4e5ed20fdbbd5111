"""CUDA graphs on an NVIDIA GPU: captured once per size, then replayed in one launch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor, nn

from ktb.config import BRANCHES
from ktb.inference.runtimes.base import Precision
from ktb.inference.runtimes.eager import EagerRuntime, autocast
from ktb.inference.runtimes.graph import POOLED, GraphModule, keep_input, output_names, to_output
from ktb.modeling.memo import Memo
from ktb.modeling.model import KTB, KTBOutput

MAX_RECORDINGS = 4
MAX_PIXELS = 2_000_000
"""Per batch; larger batches keep the GPU busy without a graph, whose memory would be large."""
WARM_UPS = 3
Tensors = tuple[Tensor, ...]


class CapturedGraph:
    """A network captured as a CUDA graph for one input shape, with its own memory.

    Args:
        network: the function to capture; it must not synchronise with the GPU.
        inputs: example inputs; only their shapes, dtypes and devices matter.
    """

    def __init__(self, network: Callable[..., Tensors], inputs: Sequence[Tensor]):
        self._inputs = [tensor.clone() for tensor in inputs]
        now, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(now)
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):  # fills caches and selects kernels, which cannot be captured
                network(*self._inputs)
        now.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = network(*self._inputs)

    def __call__(self, inputs: Sequence[Tensor], wanted: Sequence[int]) -> Tensors:
        """Replay the graph on inputs of the same shapes; returns copies of the outputs at these indices."""
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self._graph.replay()
        return tuple(self._outputs[number].clone() for number in wanted)


class CUDAGraphRuntime:
    """Replay a captured graph for repeated input shapes; the first calls and large batches run in PyTorch.

    A captured graph reads the model's tensors in place: weights that change in place, also through `.data`,
    take effect at once. Construct a new runtime if tensors were replaced or moved.

    Args:
        model: on a CUDA device.
        patience: number of calls of a shape that run in PyTorch before its graph is captured.

    Raises:
        ValueError: the model is not on a CUDA device.
    """

    name = "cudagraph"

    def __init__(self, model: KTB, precision: Precision, why: str, patience: int = 1):
        device = next(model.parameters()).device
        if device.type != "cuda":
            raise ValueError(
                f"the runtime cudagraph computes on an NVIDIA GPU, but the model is on {device.type!r}; "
                f"load it with device 'cuda', or choose the runtime eager."
            )
        self.precision, self.why, self.patience = precision, why, patience
        self._model, self._device = model, device
        self._eager = EagerRuntime(model, precision, why)
        self._names = output_names(model)
        self._network = GraphModule(model)
        # Detached copies keep the memory that captured graphs read, even if the model gets other tensors.
        self._weights = [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
        self._recordings: OrderedDict[Hashable, tuple[CapturedGraph, list]] = OrderedDict()
        self._seen: Memo = Memo(capacity=16 * MAX_RECORDINGS)
        self._lock = threading.Lock()

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
        """Compute a batch as `ktb.inference.runtimes.Runtime`; the output's `runtime` names the one used."""
        with self._lock, torch.cuda.device(self._device):
            inputs = rgb, modal_x, keep_input(len(rgb), mask_rgb, mask_x, self._device)
            recording = self._recording(inputs)
            if recording is not None:
                names = [name for name in self._names if trace or _is_needed(name, branches)]
                found = recording(inputs, [self._names.index(name) for name in names])
                return to_output(self._model, dict(zip(names, found)), trace, branches, self.name)
        return self._eager(rgb, modal_x, mask_rgb, mask_x, trace, branches)

    def _recording(self, inputs: Tensors) -> CapturedGraph | None:
        """The captured graph for the shapes of these inputs, captured now if worthwhile; else None."""
        batch, _, height, width = inputs[0].shape
        if batch * height * width > MAX_PIXELS:
            return None
        key = batch, height, width
        if key not in self._recordings:
            times = self._seen.get(key, lambda: [0])
            times[0] += 1
            if times[0] <= self.patience:
                return None
            while len(self._recordings) >= MAX_RECORDINGS:
                self._recordings.popitem(last=False)
            recording = CapturedGraph(self._run, inputs)
            # The graph reads tensors cached in the network's memos; they must outlive their eviction.
            self._recordings[key] = recording, _kept_by(self._model)
        self._recordings.move_to_end(key)
        return self._recordings[key][0]

    def _run(self, *inputs: Tensor) -> Tensors:
        with autocast(self._model, self.precision):
            return self._network(*inputs)


def _is_needed(name: str, branches: Sequence[str]) -> bool:
    """Whether an output is needed without a trace."""
    return name.removeprefix("logits_") in branches or name.startswith(POOLED)


def _kept_by(model: nn.Module) -> list:
    """All values in the memos of a network's modules."""
    memories = (m for module in model.modules() for m in vars(module).values() if isinstance(m, Memo))
    return [value for memory in memories for value in memory.values()]
