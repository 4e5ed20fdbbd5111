"""The choice of the device, with stand-ins for GPUs that work, compute wrong values, or raise errors."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from ktb import load_model
from ktb.__main__ import app
from ktb.inference.runtimes import device_for
from ktb.modeling import device
from ktb.modeling.device import DeviceChoice, choose_device

NO_KERNEL = "CUDA error: no kernel image is available for execution on the device\nCompile with TORCH_USE ..."
small_computation = device._small_computation


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A function that sets this machine's GPUs: device → the error that it raises, or an added error."""

    def clear():
        device.fault_of.cache_clear()
        device.mps_fault.cache_clear()

    def set_up(gpus: dict[str, str | float], mps: float | Exception | None = None):
        def compute(where: torch.device):
            if where.type == "cpu":
                return small_computation(where)
            kind = gpus.get(str(where), "Found no NVIDIA driver on your system. Please check it")
            if isinstance(kind, str):
                raise RuntimeError(kind)
            return small_computation(torch.device("cpu")) + kind

        def difference(where: torch.device):
            if isinstance(mps, Exception):
                raise mps
            return mps

        monkeypatch.setattr(device, "_small_computation", compute)
        monkeypatch.setattr(device, "network_difference", difference)
        monkeypatch.setattr(torch.backends.mps, "is_built", lambda: mps is not None)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len([g for g in gpus if "cuda" in g]))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda gpu: f"Stand-in of {gpu}")
        clear()

    clear()
    yield set_up
    monkeypatch.undo()
    clear()


def test_a_cuda_gpu_that_works_comes_first(machine):
    machine({"cuda": 0.0, "mps": 0.0}, mps=0.0)
    assert choose_device() == DeviceChoice("cuda", "Stand-in of cuda computes correctly.")


def test_a_broken_gpu_falls_back_with_its_reason(machine):
    machine({"cuda": NO_KERNEL})
    reason = "No CUDA GPU can be used: CUDA error: no kernel image is available for execution on the device."
    assert choose_device() == DeviceChoice("cpu", reason)
    machine({"cuda": 0.5})
    assert choose_device().why == "No CUDA GPU can be used: it computes wrong values."
    machine({"cuda": float("nan")})
    assert choose_device().device == "cpu"
    machine({})
    assert choose_device().why == "No CUDA GPU can be used: Found no NVIDIA driver on your system."


def test_the_second_gpu_is_used_if_the_first_is_broken(machine):
    machine({"cuda": NO_KERNEL, "cuda:1": 0.0})
    found = choose_device()
    assert found.device == "cuda:1"
    assert found.why.startswith("Stand-in of cuda:1 computes correctly. cuda cannot be used: CUDA error")


@pytest.mark.parametrize(("mps", "chosen", "why"), [
    (2e-5, "mps", "gives the CPU's results"),
    (0.02, "cpu", "Apple's GPU is not used: its logits differ from the CPU's by 2.0e-02 of the largest."),
    (float("nan"), "cpu", "differ from the CPU's by nan"),
    (NotImplementedError("aten::foo is not there for MPS. Set X"), "cpu", "not used: aten::foo is not there"),
])  # fmt: skip
def test_mps_is_used_where_it_computes_as_the_cpu(machine, mps, chosen, why):
    machine({"mps": 0.0}, mps)
    found = choose_device()
    assert found.device == chosen
    assert why in found.why
    assert choose_device(with_mps=False).device == "cpu"


def test_a_device_that_was_asked_for_is_used_or_refused(machine):
    machine({"cuda": 0.0, "cuda:1": NO_KERNEL})
    assert choose_device("cpu") == DeviceChoice("cpu", "It was requested.")
    assert choose_device(torch.device("cuda")).device == "cuda"
    with pytest.raises(ValueError, match=r"device 'cuda:1' cannot be used here \(CUDA error: no kernel"):
        choose_device("cuda:1")


def test_a_runtime_of_the_cpu_gets_the_cpu(machine, monkeypatch):
    machine({"cuda": 0.0})
    monkeypatch.delenv("KTB_RUNTIME", raising=False)
    assert device_for("auto").device == "cuda"
    assert device_for("openvino") == DeviceChoice("cpu", "The runtime openvino computes on the CPU.")
    assert device_for("onnx", "cuda").device == "cuda"  # the runtime then refuses it
    monkeypatch.setenv("KTB_RUNTIME", "onnx")
    assert device_for("auto").device == "cpu"


def test_the_trial_network_gives_its_own_results():
    assert device.network_difference(torch.device("cpu")) == 0.0


def test_the_trial_leaves_the_random_numbers_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    device.network_difference(torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_here_the_commands_take_the_cpu_and_print_why(tmp_path):
    assert next(load_model("ktb-lite-nyuv2-depth").parameters()).device.type == "cpu"
    pair = ["--rgb", "assets/examples/office_rgb.png", "--no-x", "--short-side", "64"]
    ended = CliRunner().invoke(app, ["predict", *pair, "--out", str(tmp_path)])
    assert ended.exit_code == 0, ended.output
    assert ended.stderr.startswith("device cpu: No CUDA GPU can be used: ")
