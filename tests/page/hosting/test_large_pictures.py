"""A large photograph on the page: shown as a sample of its pixels, downloaded with all of them."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from types import SimpleNamespace

import cv2
import gradio as gr
import numpy as np
import pytest
from helpers.pairs import synthetic_pair
from PIL import Image

from app import service as services
from app.context import Context
from app.panels.footer import footer
from app.tabs.inspect import Inspect
from app.viewer import ViewerFiles, run_bytes, stored
from app.widgets.downloads import export_file
from ktb import XOptions, read_image_rgb, read_x
from ktb.inference import predictor as predictors
from ktb.outputs.bundle import MAX_PIXELS, read_bundle

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = 1500, 2000


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A JPEG and depth in millimetres of three megapixels."""
    folder = tmp_path_factory.mktemp("large")
    photo, depth = (
        cv2.resize(part, SIZE[::-1], interpolation=cv2.INTER_NEAREST) for part in synthetic_pair()
    )
    cv2.imwrite(str(folder / "photo.jpg"), photo[..., ::-1])
    cv2.imwrite(str(folder / "depth.png"), depth)
    return str(folder / "photo.jpg"), str(folder / "depth.png")


@pytest.fixture(scope="module")
def encoded():
    """The sizes that X was encoded for, in turn."""
    return []


@pytest.fixture(scope="module")
def result(service, files, encoded):
    """The result of a visit: X is previewed, then the pair is run."""
    encode_x, model = services.encode_x, service.models[0]
    service.predictor(model).short_side = 64
    with pytest.MonkeyPatch.context() as patch:

        def encode(*given, **named):
            encoded.append(named["rgb"].pixels.shape[:2])
            return encode_x(*given, **named)

        patch.setattr(services, "encode_x", encode)
        service.read_x([files[1]], files[0], model, XOptions(unit="mm"))
        return service.segment(files[0], [files[1]], model, XOptions(unit="mm"))


def test_x_is_encoded_once_for_preview_and_run(result, encoded):
    assert encoded == [SIZE]
    assert result.prediction.x.image.shape == (*SIZE, 3)
    assert not result.prediction.x.image.flags.writeable


def test_the_viewer_gets_a_sample_and_nothing_else_is_decided(result):
    assert result.prediction.size_hw == SIZE
    found = read_bundle(gzip.decompress(run_bytes(result)))
    shown = stored(result)
    height, width = shown.size_hw
    assert 0.9 * MAX_PIXELS < height * width <= MAX_PIXELS
    assert found.header["size"] == {"height": SIZE[0], "width": SIZE[1]}
    assert found.header["stored_size"] == {"height": height, "width": width}
    assert found.arrays["rgb"].shape == (height, width, 3)
    for branch in ("fused", "rgb", "x"):
        assert np.array_equal(found.arrays[f"labels.{branch}"], shown.labels[branch])
    assert 'data-click="ktb-make-zip"' in footer(result)
    assert result.prediction.labels.decisions.computed == {}


def test_a_region_is_ablated_at_the_size_that_the_viewer_shows(result, service):
    height, width = stored(result).size_hw
    written = {}
    files = SimpleNamespace(write_if_open=lambda session, name, data: written.setdefault(name, data))
    context = Context(service, SimpleNamespace(result=lambda session: result), ViewerFiles(files), None, ())
    asked = {"rectangle": [0.25, 0.25, 0.75, 0.75], "drop": "x"}
    request = gr.Request(session_hash="a")
    Inspect(context).ablate_region(request, json.dumps(asked), progress=lambda *_, **__: None)
    found = read_bundle(gzip.decompress(written["region.safetensors.gz"]))
    assert result.prediction.labels.decisions.computed == {}
    region = (SIZE[1] // 4, SIZE[0] // 4, SIZE[1] * 3 // 4, SIZE[0] * 3 // 4)
    without = service.predictor(service.models[0])(result.rgb, result.prediction.x, drop="x", region=region)
    assert np.array_equal(found.arrays["layer.region"], without.sampled((height, width)).labels["fused"])
    assert "x 500 to 1499, y 375 to 1124" in found.header["layers"][0]["note"]
    assert found.header["region"]["sentence"].startswith("Without X in this region")


def test_the_shares_shown_are_close_to_those_of_every_pixel(result):
    shown, whole = (
        {row.name: row.share for row in p.class_table()} for p in (stored(result), result.prediction)
    )
    for name in shown.keys() | whole.keys():
        assert shown.get(name, 0) == pytest.approx(whole.get(name, 0), abs=2e-3)


def test_downloads_have_every_pixel_as_the_library(result, files, service, monkeypatch):
    monkeypatch.setattr(predictors, "MAX_EAGER_PIXELS", 10**9)
    predictor = service.predictor(service.models[0])
    expected = predictor(read_image_rgb(files[0]), read_x(files[1]), options=XOptions(unit="mm"))
    name, _, data = export_file(result, "zip", {}, {})
    assert name.endswith("masks.zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for branch in ("fused", "rgb", "x"):
            found = np.asarray(Image.open(io.BytesIO(archive.read(f"labels_{branch}.png"))))
            assert found.shape == SIZE
            assert np.mean(found == expected.labels[branch]) > 0.9999
