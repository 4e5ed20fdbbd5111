"""Polarization: Stokes parameters of four pictures, maps of degree and angle, files that belong together."""

import numpy as np
import pytest
from PIL import Image

from ktb.config import InputConfig
from ktb.inputs import InputError, RawX, XOptions, encode_x, read_image_rgb, read_x
from ktb.inputs.encoders.mosaic import is_polarizer_mosaic
from ktb.inputs.encoders.stokes import join_files, stokes

SIZE = (40, 48)
DOLP, AOLP = (InputConfig(modality=kind, encoding=kind) for kind in ("dolp", "aolp"))


def behind_polarizer(degree, angle, light: float = 1000.0, dtype=np.float32) -> np.ndarray:
    """(H, W, 4) intensities by Malus' law at 0, 45, 90 and 135 degrees; angle in radians."""
    turned = np.radians([0, 45, 90, 135])
    degree, angle = (np.broadcast_to(value, SIZE)[..., None] for value in (degree, angle))
    return (light / 2 * (1 + degree * np.cos(2 * (angle - turned)))).astype(dtype)


def maps() -> tuple[np.ndarray, np.ndarray]:
    """Degree 0.05..0.95 and angle -80..80 degrees in radians, both (H, W)."""
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    return 0.05 + 0.9 * y / (SIZE[0] - 1), np.radians(-80 + 160 * x / (SIZE[1] - 1))


def parts(intensities: np.ndarray, names: list[str], order=(0, 1, 2, 3)) -> list[RawX]:
    return [RawX(intensities[..., i], "16-bit TIFF", name) for i, name in zip(order, names)]


def sine_cosine(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(2 * angle), np.cos(2 * angle), np.sin(2 * angle)], axis=-1)


def test_four_pictures_give_degree_and_angle_back():
    degree, angle = maps()
    raw = RawX(behind_polarizer(degree, angle), kind="angles")
    assert np.allclose(encode_x(raw, DOLP).image, degree[..., None], atol=1e-4)
    assert np.allclose(encode_x(raw, AOLP).image, sine_cosine(angle), atol=1e-3)


@pytest.mark.parametrize(("degrees", "encoded"), [(0, (0, 1)), (45, (1, 0)), (90, (0, -1)), (135, (-1, 0))])
def test_the_angle_is_that_of_the_brightest_picture(degrees, encoded):
    image = encode_x(RawX(behind_polarizer(1, np.radians(degrees)), kind="angles"), AOLP).image
    assert np.allclose(image[0, 0], (*encoded, encoded[0]), atol=1e-5)


def test_an_array_of_four_channels_is_four_angles(tmp_path):
    degree, angle = maps()
    intensities = behind_polarizer(degree, angle, 40000, np.uint16)
    for array in (intensities, intensities.transpose(2, 0, 1)):
        np.save(tmp_path / "four.npy", array)
        assert np.allclose(encode_x(read_x(tmp_path / "four.npy"), DOLP).image[..., 0], degree, atol=1e-3)
    picture = RawX(np.full((*SIZE, 4), 51, np.uint8), "8-bit PNG")  # the fourth is alpha
    assert np.allclose(encode_x(picture, DOLP).image, 0.2)


def test_no_light_is_a_hole_and_impossible_degrees_are_cut():
    intensities = behind_polarizer(0.5, 0.3)
    intensities[:2] = 0
    intensities[2, 0] = (10, 500, 10, 0)
    reading = encode_x(RawX(intensities, kind="angles"), DOLP)
    assert reading.holes.sum() == 2 * SIZE[1]
    assert reading.facts["holes"] == "5.0 %"
    assert reading.image[2, 0, 0] == 1
    with pytest.raises(InputError, match="no pixel has light"):
        encode_x(RawX(np.zeros((*SIZE, 4), np.uint16), kind="angles"), DOLP)
    with pytest.raises(InputError, match="negative intensities"):
        encode_x(RawX(intensities - 600, kind="angles"), DOLP)


@pytest.mark.parametrize("white", [255, 4095, 65535, 65520])
def test_saturated_pixels_are_counted(white):
    intensities = behind_polarizer(0.2, 0.3, white, np.uint16)
    intensities[:4, :, 0] = white
    reading = encode_x(RawX(intensities, kind="angles"), DOLP)
    assert reading.facts["saturated"] == "10.0 % of the pixels"
    assert any("10 % of the pixels are saturated" in note for note in reading.warnings)
    intensities[:4, :, 0] = 0.7 * white
    assert stokes(intensities).saturated == 0


def test_angles_in_the_wrong_order_are_noticed():
    intensities = behind_polarizer(0.8, 0.1)
    assert not encode_x(RawX(intensities, kind="angles"), DOLP).warnings
    swapped = RawX(intensities[..., [0, 2, 1, 3]], kind="angles")
    assert any("should be equal: check that the angles" in note for note in encode_x(swapped, DOLP).warnings)


@pytest.mark.parametrize(
    "names",
    [
        ["glass_nir0.tif", "glass_nir45.tif", "glass_nir90.tif", "glass_nir135.tif"],
        ["s_0.png", "s_45.png", "s_90.png", "s_135.png"],
        ["i0.png", "i45.png", "i90.png", "i135.png"],
        ["0045_pol000.png", "0045_pol045.png", "0045_pol090.png", "0045_pol135.png"],
        ["a_0deg_v2.png", "a_45deg_v2.png", "a_90deg_v2.png", "a_135deg_v2.png"],
    ],
)
def test_angles_are_found_in_the_names(names):
    intensities = behind_polarizer(*maps())
    order = (2, 0, 3, 1)
    raw = join_files(parts(intensities, [names[i] for i in order], order))
    assert raw.kind == "angles"
    assert np.array_equal(raw.data, intensities)
    assert raw.facts["angles"].startswith(f"0°: {names[0]}, 45°: {names[1]}")


def test_the_light_in_the_names_does_not_hide_the_polarization():
    degree, angle = maps()
    names = [f"glass_nir_{angle}.tif" for angle in (0, 45, 90, 135)]
    reading = encode_x(join_files(parts(behind_polarizer(degree, angle), names)), DOLP)
    assert reading.modality == "dolp"
    assert np.allclose(reading.image, degree[..., None], atol=1e-4)


def test_sine_and_cosine_by_name_by_order_or_not_at_all():
    _, angle = maps()
    sine, cosine = np.sin(2 * angle), np.cos(2 * angle)
    named = join_files([RawX(cosine, name="a_cos.npy"), RawX(sine, name="a_sin.npy")])
    assert np.allclose(encode_x(named, AOLP).image, sine_cosine(angle), atol=1e-6)
    assert not named.notes
    given = join_files([RawX(sine, name="x.npy"), RawX(cosine, name="y.npy")])
    assert np.array_equal(given.data, named.data)
    assert any("x.npy was taken for the sine" in note for note in given.notes)
    with pytest.raises(InputError, match=r"x.npy, y.npy: two files .* must be the sine and the cosine"):
        join_files([RawX(sine, name="x.npy"), RawX(sine * 0.1, name="y.npy")])
    two = [RawX(np.ones(SIZE, np.uint16), name=name) for name in ("first.png", "second.png")]
    with pytest.raises(InputError, match=r"first.png, second.png: two files .* remove the file of another"):
        join_files(two)
    with pytest.raises(InputError, match=r"sin.npy: sine and cosine as uint16; give floats"):
        join_files([RawX(np.ones(SIZE, np.uint16), name=name) for name in ("sin.npy", "cos.npy")])
    with pytest.raises(InputError, match=r"values -?\S+ are no sine or cosine"):
        join_files([RawX(3 * sine, name="sin.npy"), RawX(cosine, name="cos.npy")])


def test_messages_of_files_that_do_not_belong_together():
    four = parts(behind_polarizer(0.2, 0.1), ["a.png", "b.png", "c.png", "d.png"])
    with pytest.raises(InputError, match=r"a.png, b.png, c.png, d.png do not tell the angles"):
        join_files(four)
    names = ["i0.png", "i45.png", "i90.png", "i135.png"]
    four = parts(behind_polarizer(0.2, 0.1), names)
    odd = RawX(np.ones((50, 48), np.float32), name="i135.png")
    with pytest.raises(
        InputError, match=r"differ in size: i0.png 48 x 40, .*i135.png 48 x 50; remove files of"
    ):
        join_files([*four[:3], odd])
    with pytest.raises(InputError, match=r"differ in type: .*i135.png uint8; remove files of another pair"):
        join_files([*four[:3], RawX(np.ones(SIZE, np.uint8), name="i135.png")])
    with pytest.raises(InputError, match="not one of several pictures"):
        join_files([*four[:3], RawX(np.ones((*SIZE, 2)), name="i135.png", kind="sin_cos")])


@pytest.mark.parametrize(
    ("stored", "unit", "expected"),
    [
        (lambda d: d.astype(np.float32), "0 to 1 (likely)", 1e-6),
        (lambda d: d * 100, "per cent (likely)", 1e-6),
        (lambda d: np.rint(d * 255).astype(np.uint8), "0 to 1, 255 = 1 (guess)", 3e-3),
        (lambda d: np.rint(d * 65535).astype(np.uint16), "0 to 1, 65,535 = 1 (guess)", 1e-5),
    ],
)
def test_degrees_in_every_unit(stored, unit, expected):
    degree, _ = maps()
    reading = encode_x(stored(degree), DOLP)
    assert np.allclose(reading.image, degree[..., None], atol=expected)
    assert reading.facts["unit"] == unit


def test_a_chosen_unit_counts():
    percent = np.full(SIZE, 0.5)
    assert np.allclose(encode_x(percent, DOLP, None, XOptions(unit="percent")).image, 0.005)
    degrees = np.full(SIZE, 3.0)
    image = encode_x(degrees, AOLP, None, XOptions(unit="degrees")).image
    assert np.allclose(image[0, 0, :2], (np.sin(np.radians(6)), np.cos(np.radians(6))), atol=1e-6)


@pytest.mark.parametrize(
    ("stored", "unit", "tolerance"),
    [
        (lambda a: a, "radians (likely)", 1e-5),
        (lambda a: a % np.pi, "radians (likely)", 1e-5),
        (np.degrees, "degrees (likely)", 1e-5),
        (lambda a: np.degrees(a % np.pi), "degrees (likely)", 1e-5),
        (lambda a: a % np.pi / np.pi, "0 to 1 for 0 to 180 degrees (guess)", 1e-5),
        (lambda a: np.rint(a % np.pi / np.pi * 65535).astype(np.uint16), "0 to 65,535 for", 1e-3),
        (lambda a: np.rint(a % np.pi / np.pi * 255).astype(np.uint8), "0 to 255 for", 2e-2),
        (lambda a: np.rint(np.degrees(a)).astype(np.int16), "degrees (guess)", 2e-2),
    ],
)
def test_angles_in_every_unit(stored, unit, tolerance):
    _, angle = maps()
    reading = encode_x(stored(angle), AOLP)
    assert np.allclose(reading.image, sine_cosine(angle), atol=tolerance)
    assert reading.facts["unit"].startswith(unit)


def test_an_encoded_angle_is_taken_as_it_is():
    _, angle = maps()
    encoded = sine_cosine(angle).astype(np.float32)
    assert np.array_equal(encode_x(encoded, AOLP).image, encoded)


def test_what_people_see():
    degree, angle = maps()
    raw = RawX(behind_polarizer(degree, angle), kind="angles")
    assert encode_x(raw, DOLP).preview.shape == (*SIZE, 3)
    hues = encode_x(np.radians([0.0, 60.0, 120.0, 179.99])[:, None].repeat(40, 1).repeat(10, 0), AOLP).preview
    assert np.abs(hues[::10, 0].astype(int) - [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 0)]).max() < 3
    assert encode_x(raw, AOLP).histogram.unit == "degrees"


@pytest.mark.parametrize(
    ("inputs", "x", "message"),
    [
        (DOLP, np.full(SIZE, -1.0), "are no degree of polarization"),
        (DOLP, np.full(SIZE, 500.0), "values 500..500 are no degree of polarization"),
        (DOLP, np.full(SIZE, np.nan), "nowhere measured"),
        (AOLP, np.full(SIZE, np.nan), "nowhere measured"),
        (AOLP, np.full(SIZE, 1000.0), "are no angles in radians or degrees"),
        (AOLP, np.eye(40)[..., None] * [0, 9, 200] + np.uint8(3), "cannot be read from a coloured picture"),
    ],
)
def test_messages_of_maps(inputs, x, message):
    with pytest.raises(InputError, match=message):
        encode_x(x, inputs)


@pytest.mark.parametrize(("inputs", "allowed"), [(DOLP, "fraction, percent"), (AOLP, "radians, degrees")])
def test_units_of_other_modalities_are_refused(inputs, allowed):
    with pytest.raises(InputError, match=f"unit 'mm' of the .*: choose auto or one of {allowed}"):
        encode_x(maps()[0], inputs, None, XOptions(unit="mm"))


def test_an_angle_is_no_degree():
    raw = RawX(sine_cosine(maps()[1])[..., :2], kind="sin_cos")
    with pytest.raises(InputError, match="an angle of polarization, not a degree of polarization"):
        encode_x(raw, DOLP, None, XOptions(modality="dolp"))


def test_real_pictures(shared):
    """Published values do not come with these files: only what physics asks of any scene is tested."""
    folder = shared / "data/qualitative/polarization"
    raw = read_x([folder / f"glass_nir{angle}.tif" for angle in (135, 0, 90, 45)])
    found = stokes(raw.data)
    assert found.disagreement < 0.05  # I0 + I90 = I45 + I135
    degree, angle = encode_x(raw, DOLP), encode_x(raw, AOLP)
    assert not degree.warnings
    assert 0.02 < np.median(degree.image) < 0.5
    norm = angle.image[..., 0] ** 2 + angle.image[..., 1] ** 2
    assert np.allclose(norm, 1, atol=1e-5)


# Raw frames of polarization cameras


def mosaic(degree: np.ndarray, angle: np.ndarray, light: np.ndarray) -> np.ndarray:
    """What a sensor stores whose 2 x 2 pixels lie behind polarizers at 90, 45 over 135, 0 degrees."""
    frame = np.empty(light.shape)
    for row, column, polarizer in ((0, 0, 90), (0, 1, 45), (1, 0, 135), (1, 1, 0)):
        behind = light / 2 * (1 + degree * np.cos(2 * angle - 2 * np.radians(polarizer)))
        frame[row::2, column::2] = behind[row::2, column::2]
    return frame


def camera_frame(dtype=np.uint8) -> np.ndarray:
    """(240, 320): a checkerboard, its middle strongly polarized, at angles of 0 to 180 degrees."""
    y, x = np.mgrid[:240, :320]
    light = 1.6 * (90 + 60 * ((x // 40 + y // 40) % 2))
    degree = np.where((x > 100) & (x < 220) & (y > 80) & (y < 160), 0.6, 0.05)
    frame = mosaic(degree, np.radians(x / 320 * 180), light) * (1 if dtype == np.uint8 else 16)
    return np.rint(frame).clip(0, np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_mosaic_of_a_polarization_camera_is_separated(tmp_path, dtype):
    Image.fromarray(camera_frame(dtype)).save(tmp_path / "frame.png")
    raw = read_x(tmp_path / "frame.png")
    reading = encode_x(raw, InputConfig(modality="dolp", encoding="dolp"))
    degree = reading.image[..., 0]
    assert np.median(degree[:70]) == pytest.approx(0.05, abs=0.01)
    assert np.median(degree[90:150, 110:210]) == pytest.approx(0.6, abs=0.01)
    assert any("raw mosaic of a polarization camera" in note for note in reading.warnings)
    angle = encode_x(raw, InputConfig(modality="aolp", encoding="aolp")).image[140, 110:210]
    expected = 2 * np.radians(np.arange(110, 210) / 320 * 180)
    assert np.median(np.abs(angle[:, 0] - np.sin(expected))) < 0.03
    assert np.median(np.abs(angle[:, 1] - np.cos(expected))) < 0.03
    as_map = encode_x(raw, InputConfig(modality="dolp", encoding="dolp"), options=XOptions(unit="fraction"))
    assert np.allclose(as_map.image[..., 0], raw.data / np.iinfo(dtype).max)


def test_four_channels_of_a_picture_are_polarizers_if_their_sums_agree(tmp_path):
    y, x = np.mgrid[:60, :80]
    light, degree, angle = 100 + x, np.where(x < 40, 0.5, 0.1), np.radians(x + y)
    channels = [light * (1 + degree * np.cos(2 * angle - 2 * np.radians(a))) / 1.6 for a in (0, 45, 90, 135)]
    picture = np.rint(np.stack(channels, -1)).astype(np.uint8)
    Image.fromarray(picture, "RGBA").save(tmp_path / "polarized.png")
    reading = encode_x(read_x(tmp_path / "polarized.png"), InputConfig(modality="dolp", encoding="dolp"))
    assert np.abs(reading.image[..., 0] - degree).max() < 0.02
    assert any("four channels were taken for the polarizer's angles" in note for note in reading.warnings)
    picture[..., 3] = np.rint(255 * degree)
    Image.fromarray(picture, "RGBA").save(tmp_path / "rgbp.png")
    reading = encode_x(read_x(tmp_path / "rgbp.png"), InputConfig(modality="dolp", encoding="dolp"))
    assert np.abs(reading.image[..., 0] - degree).max() < 0.02


def test_the_superpixels_of_a_colour_sensor_are_not_mixed(tmp_path):
    y, x = np.mgrid[:240, :320]
    colours = np.array([[80, 160], [160, 240]])[y // 2 % 2, x // 2 % 2]
    frame = mosaic(np.where(y < 120, 0.3, 0.1), np.radians(x / 2.0), colours.astype(float))
    raw = RawX(np.rint(frame).astype(np.uint8))
    degree = encode_x(raw, InputConfig(modality="dolp", encoding="dolp")).image[..., 0]
    assert np.abs(degree[:118] - 0.3).max() < 0.03
    assert np.abs(degree[122:] - 0.1).max() < 0.03


def test_other_images_are_no_polarizer_mosaics(shared):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:240, :320]
    assert not is_polarizer_mosaic(rng.integers(0, 255, (240, 320)).astype(np.uint8))
    assert not is_polarizer_mosaic(np.repeat(np.repeat(camera_frame()[::2, ::2], 2, 0), 2, 1))
    assert not is_polarizer_mosaic((x + y) % 256)
    assert not is_polarizer_mosaic(np.zeros((240, 320), np.uint8))
    files = sorted((shared / "data" / "NYUDepthv2" / "RGB").glob("*.jpg"))[::40]
    assert len(files) > 20
    for file in files:
        rgb = read_image_rgb(file)
        assert not is_polarizer_mosaic(rgb[..., 1])
        bayer = rgb[..., 1].copy()
        bayer[::2, ::2], bayer[1::2, 1::2] = rgb[::2, ::2, 0], rgb[1::2, 1::2, 2]
        assert not is_polarizer_mosaic(bayer)
        angle = np.mgrid[: rgb.shape[0], : rgb.shape[1]][1] / 100
        assert is_polarizer_mosaic(np.uint8(mosaic(np.float64(0.15), angle, rgb[..., 1].astype(float))))
