"""Fixtures shared by all tests."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # a thread each, in processes that tests start too
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

os.environ.setdefault("KTB_RUNTIME", "eager")  # the runtimes' own tests choose others
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with reference vectors and data beside the checkout; skips where it is absent."""
    if not (SHARED / "reference").is_dir():
        pytest.skip(f"reference vectors and data are not beside this checkout ({SHARED.name}/ is absent)")
    return SHARED


@pytest.fixture(scope="session")
def deterministic_state(shared):
    """A function (shapes by official name) → state dict filled with the reference's deterministic values."""
    spec = importlib.util.spec_from_file_location("deterministic", shared / "reference" / "deterministic.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def fill(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
        names = (n for n in shapes if not n.endswith("relative_position_index"))
        return {n: torch.as_tensor(module.fill(n, tuple(shapes[n]))) for n in names}

    return fill


@pytest.fixture(scope="session")
def official_shapes(shared):
    """A function: variant "b" or "l" → the reference's description of that official checkpoint."""

    def read(size: str) -> dict:
        return json.loads((shared / "reference" / f"official_swin_{size}_40.json").read_text())

    return read


@pytest.fixture(scope="module")
def one_thread():
    """Small tensors are slower on several threads, much slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
