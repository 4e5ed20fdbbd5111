"""Components of a case: a model by name or with random weights, a file's baseline, random images."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ktb.bench.cases import BASELINE, RANDOM_MODELS, Case
from ktb.checkpoints.load import save_model
from ktb.inference.runtimes import make_runtime
from ktb.inference.runtimes.background import BackgroundCompiled
from ktb.inference.runtimes.cuda_graph import CUDAGraphRuntime
from ktb.modeling.build import VARIANTS, build_model
from ktb.modeling.model import KTB, KTBOutput

Network = Callable[[Tensor, Tensor], KTBOutput]


@contextmanager
def model_file(name: str) -> Iterator[str]:
    """Context with the argument of `ktb.load_model` for a case; random weights are in a temporary file."""
    if name not in RANDOM_MODELS:
        yield name
        return
    with tempfile.TemporaryDirectory(prefix="ktb-", ignore_cleanup_errors=True) as place:
        file = Path(place) / "model.safetensors"
        save_model(file, _random_model(name), card={})
        yield str(file)


def _random_model(name: str) -> KTB:
    config = VARIANTS[name].make("nyuv2")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(config)
        with torch.no_grad():  # away from the initial zeros, so that every component has an effect
            for _, parameter in model.trainable_parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def make_network(case: Case, model: KTB) -> Network:
    """The function to time: from normalised images to logits of all heads.

    Raises:
        ValueError: the runtime is not available here, or the file has no baseline.
    """
    if case.runtime == BASELINE:
        return _baseline(case.baseline, model)
    runtime = make_runtime(model, case.runtime, case.precision)
    if isinstance(runtime, BackgroundCompiled):  # measures the compiled graph, not the fallback runtime
        runtime = runtime.graph
    if isinstance(runtime, CUDAGraphRuntime):
        runtime.patience = 0  # likewise
    return runtime


def make_inputs(case: Case, model: KTB) -> tuple[Tensor, Tensor]:
    """Normalised random images, smooth with noise; the same for every case of a job."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, case.batch, 3, 8, 8, generator=generator).flatten(0, 1)
    images = torch.nn.functional.interpolate(coarse, case.size_hw, mode="bicubic")
    images = (images + 0.05 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    rgb, modal_x = images.to(case.device).chunk(2)
    return model.normalize_rgb(rgb), model.normalize_x(modal_x)


def _baseline(file: Path, model: KTB) -> Network:
    spec = importlib.util.spec_from_file_location("bench_baseline", file)
    module = importlib.util.module_from_spec(spec) if spec and spec.loader else None
    if module is None:
        raise ValueError(f"{file} is not a Python file.")
    spec.loader.exec_module(module)
    if not callable(make := getattr(module, "make", None)):
        raise ValueError(f"{file} has no function make(model), which should give the baseline's forward.")
    return make(model)
