"""Recognition of X's sensor by its content, by its name, and the question where both are weak."""

from pathlib import Path

import numpy as np
import pytest
from helpers.pairs import write_pair

from ktb import EventStream, XOptions, encode_x, read_image_rgb, read_x
from ktb.config import InputConfig
from ktb.inputs import recognize as module
from ktb.inputs.recognize import CANDIDATES, FEATURES, named_modality, picture_features, recognize
from ktb.inputs.types import RawX

EXAMPLES = Path(__file__).resolve().parents[3] / "assets" / "examples"
SCENES = sorted(path.name.removesuffix("_rgb.png") for path in EXAMPLES.glob("*_rgb.png"))
RNG = np.random.default_rng(0)


def picture(data: np.ndarray, name: str = "x.png") -> RawX:
    return RawX(data, "picture", name)


def with_hole(data: np.ndarray) -> np.ndarray:
    data[10:20, 30:50] = 0
    return data


@pytest.mark.parametrize(
    ("raw", "modality"),
    [
        (picture(with_hole(RNG.integers(500, 4000, (60, 80)).astype(np.uint16))), "depth"),
        (picture(RNG.normal(20, 8, (60, 80)).astype(np.float32) - 25), "thermal"),
        (picture(RNG.normal(295, 4, (60, 80)).astype(np.float32)), "thermal"),
        (picture(RNG.normal(29500, 400, (60, 80)).astype(np.uint16)), "thermal"),
        (RawX(np.zeros((60, 80, 4), np.float32), kind="angles"), "dolp"),
        (RawX(np.zeros((60, 80, 2), np.float32), kind="sin_cos"), "aolp"),
        (RawX(np.zeros((60, 80), np.float32), origin="estimated"), "depth"),
    ],
)
def test_values_that_only_one_sensor_has(raw, modality):
    found = recognize(raw)
    assert found.modality == modality
    assert found.is_sure
    assert found.why


def test_an_event_stream_is_events():
    events = EventStream(*(np.zeros(3, kind) for kind in (np.int32, np.int32, np.int64, np.int8)), (60, 80))
    assert recognize(RawX(events, kind="events")).modality == "event"


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("with_rgb", [True, False])
def test_the_examples_are_recognized_without_their_names(scene, with_rgb):
    rgb = read_image_rgb(EXAMPLES / f"{scene}_rgb.png") if with_rgb else None
    for modality in ("depth", "event"):
        raw = read_x(EXAMPLES / f"{scene}_{modality}.png")
        found = recognize(picture(np.asarray(raw.data)), rgb)
        assert (found.modality, found.is_sure) == (modality, True), found.why


def test_usual_distances_and_a_name_outweigh_texture(tmp_path):
    rgb, depth = write_pair(tmp_path)
    raw, photo = read_x(depth), read_image_rgb(rgb)
    named = recognize(raw, photo)
    assert (named.modality, named.is_sure) == ("depth", True)
    assert "by values as millimetres" in named.why
    assert recognize(picture(raw.data), photo).modality == "depth"  # its texture alone is the RGB image's


def test_near_infrared_repeats_the_texture_of_the_rgb_image():
    rgb = read_image_rgb(EXAMPLES / "living_room_rgb.png")
    found = recognize(picture(rgb[..., 0]), rgb)
    assert found.modality == "nir"
    assert "likeness to the RGB image" in found.why


@pytest.mark.parametrize(
    ("name", "modality"),
    [("night_thermal_3.png", "thermal"), ("scan-nir.tif", "nir"), ("x.png", None), ("depth_flir.png", None)],
)
def test_names_are_hints(name, modality):
    assert named_modality(name) == modality


def test_a_name_decides_where_the_picture_does_not(monkeypatch):
    flat = (((0.0, 1.0),) * len(FEATURES), ((0.0,) * (len(FEATURES) + 1),) * len(CANDIDATES))
    monkeypatch.setattr(module, "FITTED", {True: flat, False: flat})
    data = RNG.integers(0, 255, (60, 80), dtype=np.uint8)
    weak = recognize(picture(data))
    assert not weak.is_sure
    assert weak.alternative in set(CANDIDATES) - {weak.modality}
    named = recognize(picture(data, "a_thermal.png"))
    assert (named.modality, named.why) == ("thermal", "by the name a_thermal.png")
    assert recognize(picture(data), options=XOptions(modality="lidar")).modality == "lidar"


def test_features_are_finite_for_any_picture():
    for data in (np.zeros((40, 50), np.uint8), np.full((40, 50), np.nan, np.float32), np.eye(40) * 1e30):
        assert np.isfinite(list(picture_features(data, np.zeros((40, 50, 3), np.uint8)).values())).all()


def test_a_recognized_modality_reaches_the_encoder_and_the_warnings():
    raw = RawX(RNG.integers(0, 255, (60, 80), dtype=np.uint8), "8-bit PNG", "x.png", recognized="nir")
    reading = encode_x(raw, InputConfig(modality="depth", encoding="depth"))
    assert (reading.modality, reading.encoding) == ("nir", "nir")
    assert reading.warnings[0].startswith("X looks like near infrared, but this checkpoint was trained with")
    given = encode_x(raw, InputConfig(modality="depth", encoding="depth"), options=XOptions(modality="depth"))
    assert given.modality == "depth"
