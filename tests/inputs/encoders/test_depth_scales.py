"""Scales of depth beside the named units, said in every interface."""

import json

import cv2
import numpy as np
import pytest
import yaml
from helpers.commands import run

from app.settings import form_of
from app.widgets.x_form import XForm, x_options
from ktb.config import InputConfig
from ktb.datasets.custom import CustomDataset
from ktb.inputs import InputError, XOptions, encode_x, read_depth_metres
from ktb.inputs.encoders.depth_units import DEPTH_UNITS, depth_unit, depth_unit_name
from ktb.inputs.encoders.thermal import thermal_unit

DEPTH = InputConfig(modality="depth", encoding="depth")


def metres() -> np.ndarray:
    y, x = np.mgrid[:120, :160].astype(float)
    return np.minimum(3.0 + 0.2 * np.sin(x / 9), 60 / np.maximum(y - 50, 1))


def stored(levels_per_metre: float) -> np.ndarray:
    return np.rint(metres() * levels_per_metre).astype(np.uint16)


@pytest.mark.parametrize(
    ("said", "unit"),
    [
        ("1/4000m", "1/4000m"),
        ("0.25mm", "1/4000m"),
        ("0.25 mm", "1/4000m"),
        ("0,25mm", "1/4000m"),
        ("4000", "1/4000m"),
        (4000, "1/4000m"),
        ("4000/m", "1/4000m"),
        ("0.00025", "1/4000m"),
        (0.00025, "1/4000m"),
        ("125um", "1/8000m"),
        (6553.5, "1/6553.5m"),
        (65.535, "1/65.535m"),
        ("1/6553.5m", "1/6553.5m"),
        ("1/1000m", "mm"),
        (5000, "1/5000m"),
        ("1", "m"),
        *((unit, unit) for unit in DEPTH_UNITS),
    ],
)
def test_scales(said, unit):
    assert depth_unit(said) == unit


@pytest.mark.parametrize(
    "said", ["", "millimeters", "-4000", "0", "1/0m", "nan", "inf", "1e999", "1/4000mm/m", "m/256"]
)
def test_what_is_no_scale_is_refused_with_the_forms(said):
    with pytest.raises(InputError, match=r"choose auto or one of mm, .*; or a scale, as levels per metre"):
        depth_unit(said)


@pytest.mark.parametrize(
    ("levels", "said"), [(4000, "1/4000m"), (4000, "0.25mm"), (6553.5, "6553.5"), (6553.5, 6553.5)]
)
def test_depth_of_any_scale(levels, said):
    found = encode_x(stored(levels), DEPTH, options=XOptions(unit=said))
    assert found.depth.median == pytest.approx(float(np.median(metres())), abs=0.001)
    assert found.depth.confidence == "certain"


@pytest.mark.parametrize(
    ("said", "per_kelvin", "zero"),
    [
        ("0.04K", 25, 273.15),
        ("1/64K", 64, 273.15),
        ("0.1C", 10, 0),
        ("0.01 °C", 100, 0),
        ("0.1K", 10, 273.15),
    ],
)
def test_temperatures_of_any_scale(said, per_kelvin, zero):
    celsius = np.tile(np.linspace(12, 44, 160), (120, 1))
    levels = np.rint((celsius + zero) * per_kelvin).astype(np.uint16)
    inputs = InputConfig(modality="thermal", encoding="thermal", range_low=0, range_high=50)
    found = encode_x(levels, inputs, options=XOptions(unit=said))
    assert found.image[..., 0] == pytest.approx(celsius / 50, abs=0.002)
    assert "(certain)" in found.facts["unit"]
    assert x_options(XForm(modality="thermal", scale=said)).unit == thermal_unit(said)


def test_names_say_both_forms():
    assert depth_unit_name("1/4000m") == "1/4000 m, 0.25 mm per level"
    assert read_depth_metres(stored(4000), "0.25mm").unit == "1/4000m"


def test_python_and_http_options():
    for said in ({"unit": 6553.5}, {"unit": "1/6553.5m"}, {"depth_scale": 6553.5}):
        found = encode_x(stored(6553.5), DEPTH, options=XOptions.from_dict(json.loads(json.dumps(said))))
        assert found.depth.median == pytest.approx(2.82, abs=0.01)
    with pytest.raises(InputError, match="both unit 'mm' and depth_scale 256 are given"):
        XOptions.from_dict({"unit": "mm", "depth_scale": 256})
    with pytest.raises(InputError, match="depth_scale is 'x'; give a number of levels"):
        XOptions.from_dict({"depth_scale": "x"})


@pytest.mark.parametrize("flags", [("--unit", "0.25mm"), ("--unit", "1/4000m"), ("--depth-scale", "4000")])
def test_command_line(tmp_path, flags):
    cv2.imwrite(str(tmp_path / "matterport.png"), stored(4000))
    out = tmp_path / "got.npy"
    ended = run("encode", tmp_path / "matterport.png", "--modality", "depth", "--out", out, *flags)
    assert ended.exit_code == 0, ended.output
    assert np.median(np.load(out)) == pytest.approx(0.282, abs=0.001)
    assert "0.25 mm per level (certain)" in ended.output


@pytest.mark.parametrize(
    "said", [{"unit": "0.25mm"}, {"unit": 4000}, {"depth_scale": 4000}, {"depth_scale": 0.00025}]
)
def test_yaml(tmp_path, said):
    (tmp_path / "x").mkdir()
    cv2.imwrite(str(tmp_path / "x/a.png"), stored(4000))
    file = tmp_path / "data.yaml"
    keys = {"rgb": "x", "x": "x", "modality": "depth", "classes": ["a"]}
    file.write_text(yaml.safe_dump(keys | said))
    data = CustomDataset(file)
    assert data.unit == "1/4000m"
    assert data.encode_x(data.read_x(tmp_path / "x/a.png"), (120, 160)).depth.median == pytest.approx(
        2.82, abs=0.01
    )
    file.write_text(yaml.safe_dump(keys | said | {"unit": "mm", "depth_scale": 4000}))
    with pytest.raises(ValueError, match="'unit' and 'depth_scale' both say the scale"):
        CustomDataset(file)


@pytest.mark.parametrize("said", ["6553.5", "1/6553.5m"])
def test_the_page_has_a_field_for_it(said):
    options = x_options(XForm(scale=said, unit="mm"))
    assert options.unit == "1/6553.5m"
    form = form_of(options)
    assert (form.unit, form.scale) == ("auto", "1/6553.5m")
    assert x_options(form) == options
    assert x_options(XForm(modality="aolp", scale=said)).unit == "auto"
    with pytest.raises(ValueError, match="or a scale"):
        x_options(XForm(scale="a lot"))
