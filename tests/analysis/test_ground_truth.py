"""Label pictures as people store them, and scores counted by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from ktb import Predictor, load_model, read_image_rgb, read_x
from ktb.analysis.ground_truth import (
    BOTH_RIGHT,
    BOTH_WRONG,
    HELPED,
    HURT,
    RIGHT,
    WRONG,
    better_counting,
    counting_scores,
    error_map,
    fusion_effect,
    read_truth,
    score,
    scored_shares,
    usual_counting,
)
from ktb.checkpoints.registry import DEFAULT_MODEL
from ktb.labels import DATASETS
from training.data.datasets import REGISTRY
from training.evaluation.metrics import ConfusionMatrix

PALETTE = ((200, 30, 30), (30, 200, 30), (30, 30, 200))
SIZE = (64, 96)


@pytest.fixture
def labels() -> np.ndarray:
    found = np.zeros(SIZE, np.uint8)
    found[:, 30:60], found[:, 60:], found[:8] = 1, 2, 255
    return found


def stored(image: np.ndarray, palette: bool = False, kind: str = "PNG") -> bytes:
    picture = Image.fromarray(image)
    if palette:
        picture.putpalette([9, 9, 9, 8, 8, 8] * 128)
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def read(data: bytes, numbering="stored", size=SIZE, usual="stored"):
    return read_truth(data, size, PALETTE, numbering, "truth.png", usual=usual)


def test_grey_palette_16_bit_and_three_equal_channels_give_the_stored_numbers(labels):
    triple = np.repeat(labels[..., None], 3, axis=-1)
    for data in (
        stored(labels), stored(labels, palette=True), stored(labels.astype(np.uint16)), stored(triple),
        stored(labels, kind="TIFF"),
    ):  # fmt: skip
        assert np.array_equal(read(data).labels, labels)


def test_classes_counted_from_one(labels):
    one = np.where(labels == 255, 0, labels + 1).astype(np.uint8)
    assert np.array_equal(read(stored(one), "from_one").labels, labels)
    one[0, 0] = 255
    assert read(stored(one), "from_one").labels[0, 0] == 255
    with pytest.raises(ValueError, match=r"value 3 is no class.*0\.\.2 here.*counts its classes from 1"):
        read(stored(one))
    one[0, 0] = 4
    with pytest.raises(ValueError, match=r"value 4 is no class.*1\.\.3 here"):
        read(stored(one), "from_one")


def test_auto_counts_as_the_checkpoints_dataset_and_else_as_the_values_allow(labels):
    one = np.where(labels == 255, 0, labels + 1).astype(np.uint8)
    few = np.where(one == 3, 2, one)  # values 0 to 2 fit both countings
    assert np.array_equal(read(stored(few), "auto").labels, few)
    assert np.array_equal(read(stored(few), "auto", usual="from_one").labels, np.where(few, few - 1, 255))
    found = read(stored(one), "auto")  # value 3 is no class if counted from 0
    assert (found.counting, found.other) == ("from_one", None)
    assert np.array_equal(found.labels, labels)
    assert found.summary.startswith("value k is class k − 1")


@pytest.mark.parametrize("name", REGISTRY)
def test_countings_are_those_of_the_datasets(name):
    """What training reads as class 0 is the first stored value."""
    first = int(np.flatnonzero(REGISTRY[name].labels_stored == 0)[0])
    assert DATASETS[name].first_stored == first
    assert usual_counting(DATASETS[name].classes) == ("from_one" if first else "stored")
    assert usual_counting(("bolt", "nut")) == "stored"


def test_both_countings_are_scored_and_the_much_better_one_is_offered(labels):
    one = np.where(labels == 255, 0, labels + 1).astype(np.uint8)
    one[one == 3] = 2
    pred = np.where(one, one - 1, 0).astype(np.uint8)
    wrong = read(stored(one), "stored")
    scores = counting_scores(pred, wrong, 3)
    assert list(scores) == ["stored", "from_one"]
    assert scores["from_one"].pixel_accuracy == 1
    assert scores["stored"].pixel_accuracy < 0.2
    assert better_counting(scores) == "from_one"
    right = read(stored(one), "auto", usual="from_one")
    assert better_counting(counting_scores(pred, right, 3)) is None
    painted = read(stored(np.array([*PALETTE, (0, 0, 0)], np.uint8)[np.where(labels == 255, 3, labels)]))
    assert counting_scores(pred, painted, 3) == {}
    assert better_counting({}) is None


def test_numbers_in_the_red_channel_are_read(labels):
    red = np.dstack([np.where(labels == 255, 0, labels + 1), *np.zeros((2, *SIZE))]).astype(np.uint8)
    assert np.array_equal(read(stored(red), "auto", usual="from_one").labels, labels)


def test_labels_of_nyuv2_are_scored_as_they_are_stored(shared):
    """On a real frame: counted from 0, the score says nothing."""
    folder = shared / "data" / "NYUDepthv2"
    name = (folder / "test.txt").read_text().split()[0]
    rgb = read_image_rgb(folder / "RGB" / f"{name}.jpg")
    prediction = Predictor(load_model(DEFAULT_MODEL))(
        rgb, read_x(folder / "Depth" / f"{name}.png"), trace=False
    )
    pred, size = prediction.labels["fused"], rgb.shape[:2]
    usual = usual_counting(prediction.classes)
    found = read_truth(folder / "Label" / f"{name}.png", size, prediction.palette, usual=usual)
    assert found.counting == "from_one"
    scores = counting_scores(pred, found, len(prediction.classes))
    assert scores["from_one"].pixel_accuracy > 0.5
    assert scores["stored"].pixel_accuracy < 0.2
    said = read_truth(folder / "Label" / f"{name}.png", size, prediction.palette, "stored")
    assert better_counting(counting_scores(pred, said, len(prediction.classes))) == "from_one"


def test_colours_of_the_palette_and_black_for_no_label(labels):
    painted = np.array([*PALETTE, (0, 0, 0)], np.uint8)[np.where(labels == 255, 3, labels)]
    assert np.array_equal(read(stored(painted)).labels, labels)
    assert np.array_equal(read(stored(np.dstack([painted, np.full(SIZE, 255, np.uint8)]))).labels, labels)
    painted[5, 5] = (1, 2, 3)
    with pytest.raises(ValueError, match=r"1 colours that are not in the checkpoint's palette.*\(1, 2, 3\)"):
        read(stored(painted))


def test_other_sizes_are_brought_to_the_rgb_images_by_the_nearest_pixel(labels):
    double = labels.repeat(2, axis=0).repeat(2, axis=1)
    found = read(stored(double))
    assert np.array_equal(found.labels, labels)
    assert "192×128 resized by the nearest pixel" in found.summary
    assert set(np.unique(read(stored(labels), size=(100, 150)).labels)) == {0, 1, 2, 255}
    with pytest.raises(ValueError, match=r"96 x 64 pixels, but the RGB image has 64 x 64; their proportions"):
        read(stored(labels), size=(64, 64))


def test_what_is_no_label_picture_is_said(labels):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    whole = stored(labels)
    for data, message in (
        (stored(photo, kind="JPEG"), "JPEG picture loses class numbers"),
        (stored(photo), "colours that are not in the checkpoint's palette"),
        (b"%PDF-1.4 and more", "PDF document"),
        (bytes(range(1, 90)), "no picture that can be read"),
        (b"", "empty"),
        (whole[: len(whole) // 2], "damaged or cut off"),
        (stored(np.zeros(SIZE, np.float32), kind="TIFF"), "float32 values are no class numbers"),
        (stored(np.full(SIZE, 255, np.uint8)), "not one pixel is labelled"),
        (stored(np.zeros((2, 3), np.uint8)), "3 x 2 pixels"),
        (stored(np.full(SIZE, 300, np.uint16)), "value 300 is no class"),
    ):
        with pytest.raises(ValueError, match=message):
            read(data)
    with pytest.raises(ValueError, match="numbering 'zero'"):
        read(whole, "zero")


def test_scores_by_hand():
    truth = np.array([[0, 0, 0, 0, 1, 1, 255, 255]], np.uint8)
    pred = np.array([[0, 0, 1, 1, 1, 0, 2, 0]], np.uint8)
    found = score(pred, truth, 4)
    assert found.iou[:2].tolist() == [2 / 5, 1 / 4]
    assert np.isnan(found.iou[2:]).all()  # class 2 was said where nothing is labelled: not scored
    assert found.mean_iou == pytest.approx(0.325)
    assert found.pixel_accuracy == 0.5
    nothing = score(pred, np.full_like(truth, 255), 4)
    assert np.isnan([nothing.mean_iou, nothing.pixel_accuracy]).all()
    with pytest.raises(ValueError, match="differ in size"):
        score(pred, truth[:, :4], 4)


def test_scores_are_those_of_the_training():
    rng = np.random.default_rng(3)
    truth, pred = (rng.integers(0, 9, (40, 50)).astype(np.uint8) for _ in range(2))
    truth[truth == 8] = 255
    matrix = ConfusionMatrix(12)
    matrix.update(torch.from_numpy(pred), torch.from_numpy(truth))
    expected, found = matrix.scores(), score(pred, truth, 12)
    np.testing.assert_allclose(100 * found.iou, expected.iou)
    assert 100 * found.mean_iou == pytest.approx(expected.miou)
    assert 100 * found.pixel_accuracy == pytest.approx(expected.pixel_accuracy)


def test_errors_and_where_fusion_helped_or_hurt():
    truth = np.array([[0, 0, 0, 0, 255]], np.uint8)
    fused = np.array([[0, 0, 1, 1, 0]], np.uint8)
    head = np.array([[0, 2, 0, 2, 0]], np.uint8)
    assert error_map(fused, truth).tolist() == [[RIGHT, RIGHT, WRONG, WRONG, 255]]
    effect = fusion_effect(fused, head, truth)
    assert effect.tolist() == [[BOTH_RIGHT, HELPED, HURT, BOTH_WRONG, 255]]
    assert scored_shares(effect, 4).tolist() == [0.25] * 4
    assert np.isnan(scored_shares(np.full((2, 2), 255), 4)).all()
