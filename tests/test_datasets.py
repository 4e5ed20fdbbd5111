"""NYUv2's layout, label rule and messages."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.datasets import build_dataset, hold_out

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "NYUDepthv2"


@pytest.fixture
def root(tmp_path):
    """Two training frames and one test frame of 4 x 6 pixels."""
    for folder in ("RGB", "Depth", "Label"):
        (tmp_path / folder).mkdir()
    for name in ("0001", "0002", "0003"):
        rgb = np.zeros((4, 6, 3), np.uint8)
        rgb[..., 0] = 250  # red
        cv2.imwrite(str(tmp_path / "RGB" / f"{name}.jpg"), rgb[..., ::-1])
        cv2.imwrite(str(tmp_path / "Depth" / f"{name}.png"), np.full((4, 6), 77, np.uint8))
        label = np.tile(np.array([0, 1, 2, 39, 40, 0], np.uint8), (4, 1))
        cv2.imwrite(str(tmp_path / "Label" / f"{name}.png"), label)
    (tmp_path / "train.txt").write_text("0001\n0002\n\n")
    (tmp_path / "test.txt").write_text("0003\n")
    return tmp_path


def test_reads_rgb_order_depth_and_label_rule(root):
    dataset = build_dataset("nyuv2", root, "train")
    sample = dataset[1]
    assert len(dataset) == 2
    assert dataset.num_classes == 40
    assert sample.name == "0002"
    assert sample.rgb[..., 0].min() > 200
    assert sample.rgb[..., 2].max() < 50
    assert sample.modal_x.shape == (4, 6)
    assert sample.modal_x[0, 0] == 77
    assert sample.label.dtype == np.uint8
    assert sample.label[0].tolist() == [255, 0, 1, 38, 39, 255]


def test_cache_reads_each_file_once(root):
    cached, plain = (build_dataset("nyuv2", root, "test", cache=cache) for cache in (True, False))
    first = cached[0]
    for folder in ("RGB", "Depth", "Label"):
        next((root / folder).glob("0003.*")).unlink()
    assert (cached[0].rgb == first.rgb).all()
    with pytest.raises(ValueError, match="is missing"):
        plain[0]


def _write(root, file, image):
    cv2.imwrite(str(root / file), image)


@pytest.mark.parametrize(
    ("spoil", "file", "what"),
    [
        (lambda r: (r / "train.txt").unlink(), "train.txt", "missing"),
        (lambda r: (r / "train.txt").write_text("\n"), "train.txt", "empty"),
        (lambda r: (r / "Depth/0002.png").unlink(), "0002.png", "missing"),
        (lambda r: (r / "RGB/0001.jpg").write_bytes(b"no image"), "0001.jpg", "cannot be read"),
        (
            lambda r: _write(r, "Label/0001.png", np.full((4, 6), 41, np.uint8)),
            "0001.png",
            "41 is outside 1..40",
        ),
        (
            lambda r: _write(r, "Label/0001.png", np.zeros((4, 6, 3), np.uint8)),
            "0001.png",
            "one 8-bit channel",
        ),
        (lambda r: _write(r, "Depth/0001.png", np.zeros((4, 7), np.uint8)), "0001.png", "differs"),
        (lambda r: _write(r, "Depth/0001.png", np.zeros((4, 6), np.uint16)), "0001.png", "8-bit"),
    ],
)
def test_messages_name_the_file_and_the_layout(root, spoil, file, what):
    spoil(root)
    with pytest.raises(ValueError) as caught:
        build_dataset("nyuv2", root, "train")[0]
    message = str(caught.value)
    assert file in message
    assert what in message
    assert "Label/NAME.png" in message


def test_unknown_names(root, tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'nyuv2'"):
        build_dataset("nyu2", root, "train")
    with pytest.raises(ValueError, match="train, test"):
        build_dataset("nyuv2", root, "val")
    with pytest.raises(ValueError, match="folder is missing"):
        build_dataset("nyuv2", tmp_path / "nowhere", "train")


def test_hold_out_is_disjoint_and_reproducible():
    kept, held = hold_out(100, 0.1, seed=1)
    assert len(held) == 10
    assert sorted([*kept, *held]) == list(range(100))
    assert (kept, held) == hold_out(100, 0.1, seed=1)
    assert held != hold_out(100, 0.1, seed=2)[1]
    assert hold_out(5, 0.0, seed=1) == ([0, 1, 2, 3, 4], [])
    with pytest.raises(ValueError, match="val_fraction"):
        hold_out(5, 1.0, seed=1)


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/NYUDepthv2 is not here")
def test_real_frames():
    train, test = (build_dataset("nyuv2", REAL, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (795, 327)
    sample = test[0]
    assert sample.rgb.shape == (480, 640, 3)
    assert sample.modal_x.shape == sample.label.shape == (480, 640)
    assert set(np.unique(sample.label)) <= {*range(40), 255}
    assert not set(train.names) & set(test.names)
