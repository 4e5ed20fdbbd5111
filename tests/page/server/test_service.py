"""What the service promises: reading X needs no network, and one visitor's work locks nobody out."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from app import service as service_module
from app.service import Service
from ktb.inputs import read_image_rgb, read_x
from ktb.inputs.types import RawX
from ktb.modeling.device import DeviceChoice

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "assets" / "examples"
PAIR = str(EXAMPLES / "bedroom_rgb.png"), str(EXAMPLES / "bedroom_depth.png")
MODEL = "ktb-lite-nyuv2-depth"
SECONDS = 20  # what would wait for ever is given up then


def test_x_is_read_and_aligned_without_torch_and_without_the_network():
    program = f"""
import sys
from app.service import Service
from ktb.inputs import AUTO
from ktb.inputs.alignment.files import Alignment
service = Service()
rgb, x = {PAIR!r}
assert service.read_x(x, rgb, {MODEL!r}).reading.modality == "depth"
assert service.read_x(x, None, {MODEL!r}).reading.depth is not None
moved = Alignment(((1, 0, 3), (0, 1, 0), (0, 0, 1)), name="moved")
assert service.look_at(rgb, x, {MODEL!r}, AUTO, moved)[0] is moved
assert "torch" not in sys.modules, "torch was imported"
assert not service.loaded, "the network was loaded"
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_service_reads_x_as_the_predictor_does():
    service = Service()
    photo = read_image_rgb(PAIR[0])
    own = service.predictor(MODEL).read(read_x(PAIR[1]), photo.shape[:2])
    found = service.read_x(PAIR[1], PAIR[0], MODEL).reading
    np.testing.assert_array_equal(found.image, own.image)
    np.testing.assert_array_equal(found.preview, own.preview)
    assert (found.summary, found.warnings, found.facts) == (own.summary, own.warnings, own.facts)


@pytest.fixture
def service(monkeypatch) -> Service:
    """A service whose networks are there at once, and do nothing."""
    nothing = SimpleNamespace(
        make_predictor=lambda *given: SimpleNamespace(model=None),
        choose=lambda runtime, device: DeviceChoice("cpu", "a test's"),
    )
    monkeypatch.setattr(service_module, "_network", lambda: nothing)
    return Service()


def in_a_thread(work) -> list:
    """What `work` gave, once it is done; fails if it waits for something that does not come."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert found, "this waited for the depth estimator"
    return found


def test_loading_the_depth_estimator_locks_nobody_out(service, monkeypatch):
    begun, goes_on = threading.Event(), threading.Event()

    class SlowDownload:
        def __init__(self, device):
            begun.set()
            goes_on.wait(SECONDS * 3)

        def __call__(self, rgb):
            return RawX(np.ones(rgb.shape[:2], np.float32), "estimated", "estimate", origin="estimated")

    monkeypatch.setattr(service_module, "DepthEstimator", SlowDownload)
    photo = np.zeros((48, 64, 3), np.uint8)
    asks = threading.Thread(target=service._estimate, args=(photo,), daemon=True)
    asks.start()
    assert begun.wait(SECONDS)
    in_a_thread(lambda: service.predictor(MODEL))
    in_a_thread(lambda: service.read_x(PAIR[1], PAIR[0], MODEL))

    def run():
        with service.scheduler.single():
            return True

    in_a_thread(run)
    goes_on.set()
    asks.join(SECONDS)
    assert not asks.is_alive()


def test_an_estimate_waits_its_turn(service, monkeypatch):
    was_busy = []

    class Estimator:
        def __init__(self, device):
            pass

        def __call__(self, rgb):
            was_busy.append(not service.scheduler.is_free)
            return RawX(np.ones(rgb.shape[:2], np.float32), "estimated", "estimate", origin="estimated")

    monkeypatch.setattr(service_module, "DepthEstimator", Estimator)
    photo = np.zeros((48, 64, 3), np.uint8)
    with service.scheduler.single():
        asks = threading.Thread(target=service._estimate, args=(photo,), daemon=True)
        asks.start()
        asks.join(0.3)
        assert not was_busy  # another's run has its turn
    asks.join(SECONDS)
    assert was_busy == [True]
