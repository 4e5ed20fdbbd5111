"""The network on an NVIDIA card as CUDA graphs: recorded once per size, then replayed in one launch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor, nn

from ktb.config import BRANCHES
from ktb.inference.runtimes.base import Precision
from ktb.inference.runtimes.eager import EagerRuntime, autocast
from ktb.inference.runtimes.graph import GraphModule, keep_input, output_names, to_output
from ktb.modeling.memo import Memo
from ktb.modeling.model import KTB, KTBOutput

MAX_RECORDINGS = 4
MAX_PIXELS = 2_000_000
"""Of a batch together: more keep the card busy anyhow, and their recording holds much memory."""
WARM_UPS = 3
Tensors = tuple[Tensor, ...]


class CapturedGraph:
    """One network at one shape of inputs, as a CUDA graph with memory of its own.

    Args:
        network: what is recorded; it must not wait for the card.
        inputs: examples of its inputs, whose values do not matter.
    """

    def __init__(self, network: Callable[..., Tensors], inputs: Sequence[Tensor]):
        self._inputs = [tensor.clone() for tensor in inputs]
        now, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(now)
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):  # fills caches and chooses kernels, neither of which can be recorded
                network(*self._inputs)
        now.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = network(*self._inputs)

    def __call__(self, inputs: Sequence[Tensor], wanted: Sequence[int]) -> Tensors:
        """Copies of the wanted outputs by their numbers, for inputs of the same shapes."""
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self._graph.replay()
        return tuple(self._outputs[number].clone() for number in wanted)


class CUDAGraphRuntime:
    """Replays a recording for shapes that come again; PyTorch answers the first time, and for large batches.

    A recording reads the model's tensors where they lie: weights that change in place, also through `.data`,
    are seen at once. Make a new runtime where tensors were replaced or moved.

    Args:
        model: on a CUDA device.
        patience: how often a shape is computed without a recording first.

    Raises:
        ValueError: for a model that is not on a CUDA device.
    """

    name = "cudagraph"

    def __init__(self, model: KTB, precision: Precision, why: str, patience: int = 1):
        device = next(model.parameters()).device
        if device.type != "cuda":
            raise ValueError(
                f"the runtime cudagraph computes on an NVIDIA card, but the model is on {device.type!r}; "
                f"load it with device 'cuda', or choose the runtime eager."
            )
        self.precision, self.why, self.patience = precision, why, patience
        self._model, self._device = model, device
        self._eager = EagerRuntime(model, precision, why)
        self._names = output_names(model)
        self._network = GraphModule(model)
        # Detached, they keep the memory that recordings read, also where the model gets other tensors.
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
        """As `ktb.inference.runtimes.Runtime`; the output's `runtime` says which one it was."""
        with self._lock, torch.cuda.device(self._device):
            inputs = rgb, modal_x, keep_input(len(rgb), mask_rgb, mask_x, self._device)
            recording = self._recording(inputs)
            if recording is not None:
                names = [name for name in self._names if trace or name.removeprefix("logits_") in branches]
                found = recording(inputs, [self._names.index(name) for name in names])
                return to_output(self._model, dict(zip(names, found)), trace, branches, self.name)
        return self._eager(rgb, modal_x, mask_rgb, mask_x, trace, branches)

    def _recording(self, inputs: Tensors) -> CapturedGraph | None:
        """The recording for these inputs' shapes, made now if it is worth it."""
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
            # It reads tensors that the network keeps; they must outlive their place in those memories.
            self._recordings[key] = recording, _kept_by(self._model)
        self._recordings.move_to_end(key)
        return self._recordings[key][0]

    def _run(self, *inputs: Tensor) -> Tensors:
        with autocast(self._model, self.precision):
            return self._network(*inputs)


def _kept_by(model: nn.Module) -> list:
    """Everything that modules of a network remember at the moment."""
    memories = (m for module in model.modules() for m in vars(module).values() if isinstance(m, Memo))
    return [value for memory in memories for value in memory.values()]
