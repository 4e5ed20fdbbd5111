"""What is in doubt about a pair of files is said alike by page, command line, Python and HTTP API."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from helpers.commands import run
from PIL import Image

from app.api.calls import options_of
from app.settings import form_of
from app.widgets.x_form import XForm, x_options
from ktb import Predictor, load_model, read_rgb, read_x
from ktb.inputs import XOptions

DEPTH = "ktb-lite-nyuv2-depth"


def phone(folder, orientation: int):
    """A photo with an EXIF orientation, and depth that lies as the sensor stored the pixels."""
    y, x = np.mgrid[:96, :128]
    disc = (x - 30) ** 2 + (y - 25) ** 2 < 18**2
    exif = Image.Exif()
    exif[274] = orientation
    photo = np.where(disc[..., None], (200, 60, 40), 100).astype(np.uint8)
    Image.fromarray(photo).save(folder / "photo.jpg", quality=95, exif=exif)
    Image.fromarray(np.where(disc, 1500, 4000).astype(np.uint16)).save(folder / "depth.png")
    return folder / "photo.jpg", folder / "depth.png"


def test_a_turned_photo_has_one_answer_everywhere(service, tmp_path):
    rgb, depth = phone(tmp_path, 6)
    predictor = Predictor(load_model(DEPTH))
    command = ["encode", depth, "--rgb", rgb, "--for", DEPTH, "--out", tmp_path / "got.png"]
    with pytest.raises(ValueError, match="turned by its EXIF orientation") as refused:
        predictor.read(read_x(depth), rgb=read_rgb(rgb))
    with pytest.raises(ValueError, match="turned by its EXIF orientation") as on_page:
        service.read_x([str(depth)], str(rgb), DEPTH)
    assert str(on_page.value) == str(refused.value)
    assert " ".join(str(refused.value).split()) in " ".join(run(*command).output.split())

    form = XForm(turn="exif")  # the field "Turn X"
    assert x_options(form) == XOptions(turn="exif") == options_of({"turn": "exif"})
    assert form_of(XOptions(turn="exif")) == form
    wanted = predictor.read(read_x(depth), options=XOptions(turn="exif"), rgb=read_rgb(rgb))
    shown = service.read_x([str(depth)], str(rgb), DEPTH, x_options(form)).reading
    assert np.array_equal(shown.image, wanted.image)
    assert shown.image.shape[:2] == (128, 96)
    assert run(*command, "--turn", "exif").exit_code == 0
    saved = np.asarray(Image.open(tmp_path / "got.png").convert("RGB")) / 255
    assert np.abs(saved - wanted.image).max() < 0.003


def test_notes_on_the_rgb_image_are_warnings_of_every_interface(service, tmp_path):
    rgb, depth = phone(tmp_path, 3)
    photo = np.asarray(Image.open(rgb)).astype(np.uint16) * 16
    cv2.imwrite(str(tmp_path / "photo12.png"), photo)
    for file, said in ((rgb, "X has none and was left as it is"), (tmp_path / "photo12.png", "12-bit data")):
        prediction = Predictor(load_model(DEPTH))(read_rgb(file), read_x(depth), trace=False)
        assert any(said in warning for warning in prediction.x.warnings)
        result = service.segment(str(file), [str(depth)], DEPTH)
        assert result.prediction.x.warnings == prediction.x.warnings
        assert service.read_x([str(depth)], str(file), DEPTH).reading.warnings == prediction.x.warnings
        told = run("predict", "--rgb", file, "--x", depth, "--model", DEPTH, "--out", tmp_path / "out")
        assert said in " ".join(told.output.split())
        alone = service.segment(str(file), None, DEPTH, source="none").prediction.x.warnings
        assert any(said in warning for warning in alone) == (said == "12-bit data")


def test_channel_and_byte_order_of_the_page_are_those_of_the_options(service, tmp_path):
    y, x = np.mgrid[:96, :128]
    depth = (1500 + 10 * y + x).astype(np.uint16)
    Image.fromarray(depth.byteswap()).save(tmp_path / "depth.png")
    options = XOptions(byte_order="stored", channel="1")
    form = XForm(byte_order="stored", channel="1")
    assert x_options(form) == options == options_of({"byte_order": "stored", "channel": 1})
    assert form_of(options) == form
    found = service.read_x([str(tmp_path / "depth.png")], None, DEPTH).reading
    assert np.allclose(found.depth.metres, depth / 1000)
    stored = service.read_x([str(tmp_path / "depth.png")], None, DEPTH, x_options(form)).reading
    assert not np.allclose(stored.depth.metres, depth / 1000)
