"""Custom datasets whose photos EXIF turns, whose X is a fourth channel, or whose bytes are swapped."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from training.check import check, main
from training.data.datasets import build_dataset

CLASSES = "classes: [background, object]\nsplit: {train: 0.7, test: 0.3}\n"


def phone_tree(folder, orientation: int, more: str = ""):
    """Photos with an EXIF orientation; depth and labels lie as the sensor stored the pixels."""
    for name in ("rgb", "x", "labels"):
        (folder / name).mkdir()
    y, x = np.mgrid[:96, :128]
    disc = (x - 30) ** 2 + (y - 25) ** 2 < 18**2
    exif = Image.Exif()
    exif[274] = orientation
    for i in range(6):
        photo = (90 + np.random.default_rng(i).integers(0, 20, (96, 128, 3))).astype(np.uint8)
        photo[disc] = 200, 60, 40
        Image.fromarray(photo).save(folder / f"rgb/{i:03d}.jpg", quality=95, exif=exif)
        Image.fromarray(np.where(disc, 1500, 4000).astype(np.uint16)).save(folder / f"x/{i:03d}.png")
        Image.fromarray(disc.astype(np.uint8)).save(folder / f"labels/{i:03d}.png")
    file = folder / "data.yaml"
    file.write_text(
        f"name: phone\nrgb: rgb\nx: x\nlabels: labels\nmodality: depth\nunit: mm\n{CLASSES}{more}"
    )
    return file


def test_an_orientation_that_x_and_labels_lack_is_said(tmp_path, capsys):
    file = phone_tree(tmp_path, 3)
    report, _ = check(str(file), None, progress=False)
    warnings = report["x_reading"]["warnings"]
    assert {text: count for text, count in warnings.items() if "X has none" in text}.popitem()[1] == 6
    assert {text: count for text, count in warnings.items() if "turn_labels: exif" in text}.popitem()[1] == 6
    assert main([str(file)]) == 0
    assert "6 of 6 files: The RGB image was turned by its EXIF orientation (3)" in capsys.readouterr().out


def test_a_sideways_orientation_is_the_named_cause(tmp_path):
    report, _ = check(str(phone_tree(tmp_path, 6)), None, progress=False)
    found = [problem["what"] for problem in report["problems"]]
    size = "turned by its EXIF orientation (6) from 128 x 96 to 96 x 128; X has the unturned size, 128 x 96"
    assert sum(size in what for what in found) + sum(
        "the label has the unturned size, 128 x 96" in what for what in found
    ) == len(found)
    assert len(found) >= 6


@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_x_and_labels_are_turned_as_the_photo(tmp_path, orientation):
    file = phone_tree(tmp_path, orientation, "turn: exif\nturn_labels: exif\n")
    report, _ = check(str(file), None, progress=False)
    assert not report["problems"]
    assert not [text for text in report["x_reading"]["warnings"] if "EXIF" in text]
    sample = build_dataset(str(file), None, "train")[0]
    red = sample.rgb[..., 0] > 150
    assert np.mean((sample.label == 1) == red) > 0.99
    assert np.mean((sample.modal_x < 0.2 * 255) == red) > 0.99


@pytest.mark.parametrize("flat", [False, True])
def test_the_byte_order_is_that_of_the_set(tmp_path, flat):
    file = phone_tree(tmp_path, 1)
    y, x = np.mgrid[:96, :128]
    for i in range(6):
        depth = (1500 + 10 * y + x + i).astype(np.uint16)
        if flat and i:
            depth[:] = 0x0605  # these frames do not tell the order
        Image.fromarray(depth.byteswap()).save(tmp_path / f"x/{i:03d}.png")
    metres = [
        sample.modal_x / 255 * 10
        for split in ("train", "test")
        for sample in build_dataset(str(file), None, split)
    ]
    assert min(map(np.min, metres)) > 1.4
    assert max(map(np.max, metres)) < 2.7


def test_different_byte_orders_are_to_be_said(tmp_path):
    file = phone_tree(tmp_path, 1)
    y, x = np.mgrid[:96, :128]
    depth = (1500 + 10 * y + x).astype(np.uint16)
    for i in range(6):
        Image.fromarray(depth.byteswap() if i % 2 else depth).save(tmp_path / f"x/{i:03d}.png")
    with pytest.raises(ValueError, match="key 'byte_order': the X files look differently ordered"):
        build_dataset(str(file), None, "train")[0]


def test_the_fourth_channel_of_the_photos_may_be_x(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    y, x = np.mgrid[:96, :128]
    person = (x > 40) & (x < 60) & (y > 30)
    rng = np.random.default_rng(0)
    for i in range(4):
        colour = np.stack([60 + x, 80 + y, 0 * x + 90], -1) + rng.integers(0, 6, (96, 128, 3))
        picture = np.dstack([colour, np.where(person, 220, 40)]).astype(np.uint8)
        Image.fromarray(picture, "RGBA").save(tmp_path / f"images/{i:05d}D.png")
        Image.fromarray(person.astype(np.uint8)).save(tmp_path / f"labels/{i:05d}D.png")
    file = tmp_path / "mfnet.yaml"
    file.write_text(f"rgb: images\nx: images\nlabels: labels\nmodality: thermal\n{CLASSES}")
    sample = build_dataset(str(file), None, "train")[0]
    assert sample.rgb.shape[2] == 3
    assert np.array_equal(sample.modal_x[..., 0] > 100, sample.label == 1)
