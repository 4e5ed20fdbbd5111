"""Input × gradient: against finite differences and against what switching a sensor off really does."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.models import MM, depth_model, pair, stirred, tiny_model
from helpers.pairs import synthetic_pair

import ktb.analysis.attribution
from ktb import Predictor, load_model, read_image_rgb, read_x
from ktb.analysis import (
    Attribution,
    Target,
    attribute,
    attribute_prediction,
    region_at,
    target_at,
)
from ktb.checkpoints.registry import DEFAULT_MODEL

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = (64, 96)
EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"
PIXEL = Target("pixel", pixel=(30, 50))


@pytest.fixture(scope="module", params=["swin", "lite"])
def model(request):
    return stirred(tiny_model(request.param)).eval()


@pytest.fixture(scope="module")
def swin():
    return stirred(tiny_model("swin")).eval()


@pytest.fixture(scope="module")
def inputs():
    return pair(1, *SIZE)


@torch.no_grad()
def fused(model, rgb, modal_x, **masks) -> torch.Tensor:
    """Fused logits (K, h, w) at the head's size, by the network's ordinary way."""
    return model(rgb, modal_x, logits_hw=(SIZE[0] // 4, SIZE[1] // 4), **masks).fused[0]


def assert_same(first: Attribution, second: Attribution):
    for field in dataclasses.fields(Attribution):
        ours, theirs = getattr(first, field.name), getattr(second, field.name)
        if field.name == "score":
            assert ours == theirs
        else:
            assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-6), field.name


def test_the_score_is_the_fused_logit_and_the_maps_lie_on_the_tokens(model, inputs):
    found = attribute(model, *inputs, PIXEL)
    logits = fused(model, *inputs)
    index = int(logits[:, 7, 12].argmax())  # pixel (30, 50) lies in row 30 // 4, column 50 // 4
    assert found.value == pytest.approx(float(logits[index, 7, 12]), abs=1e-5)
    assert found.score == f"fused logit of {model.config.classes[index]} at (30, 50)"
    assert found.rgb.shape == found.x.shape == (16, 24)
    assert found.rgb.dtype == found.x.dtype == np.float32
    assert found.total_rgb == pytest.approx(found.rgb.sum(), rel=1e-4)
    assert found.total_x == pytest.approx(found.x.sum(), rel=1e-4)
    sizes = [np.abs(part).sum() for part in (found.rgb, found.x)]
    assert found.share_x == pytest.approx(sizes[1] / sum(sizes), rel=1e-4)
    assert 0 < found.share_x < 1


def slope(model, tokens: torch.Tensor, chosen: torch.Tensor, index: int, step: float) -> float:
    """Central difference of the score at (7, 12) when the chosen tokens are scaled."""
    with torch.no_grad():
        ends = [
            model.from_tokens(tokens * (1 + sign * step * chosen), (16, 24)).fused[0, index, 7, 12]
            for sign in (1, -1)
        ]
    return float(ends[0] - ends[1]) / (2 * step)


def test_maps_are_directional_derivatives(swin, inputs):
    # Swin, whose GELUs are smooth; the kinks of ReLU6 would hide behind any step.
    found = attribute(swin, *inputs, PIXEL)
    index = int(fused(swin, *inputs)[:, 7, 12].argmax())
    with torch.no_grad():
        tokens = swin.backbone.embed(*inputs)
    streams = torch.zeros(2, 2, 16, 24, 1)
    streams[0, 0] = streams[1, 1] = 1
    for chosen, total in zip(streams, (found.total_rgb, found.total_x)):
        assert slope(swin, tokens, chosen, index, 2e-3) == pytest.approx(total, rel=0.01)
    for stream, part in enumerate((found.rgb, found.x)):
        row, column = np.unravel_index(np.abs(part).argmax(), part.shape)
        single = torch.zeros(2, 16, 24, 1)
        single[stream, row, column] = 1
        measured = slope(swin, tokens, single, index, 2e-2)
        assert measured == pytest.approx(part[row, column], rel=0.02)


def test_switching_off_is_what_the_network_really_does(model, inputs):
    found = attribute(model, *inputs, PIXEL)
    logits = fused(model, *inputs)
    index, off = int(logits[:, 7, 12].argmax()), torch.tensor([True])
    without_x = (fused(model, *inputs, mask_x=off) - logits)[index, 7, 12]
    without_rgb = (fused(model, *inputs, mask_rgb=off) - logits)[index, 7, 12]
    assert found.without_x == pytest.approx(float(without_x), abs=1e-5)
    assert found.without_rgb == pytest.approx(float(without_rgb), abs=1e-5)
    assert abs(found.without_x) > 1e-4


def test_tokens_of_zeros_get_nothing(model, inputs):
    found = attribute(model, *inputs, PIXEL, mask_x=torch.tensor([True]))
    assert (np.abs(found.x).max(), found.total_x, found.share_x, found.without_x) == (0, 0, 0, 0)
    assert np.abs(found.rgb).max() > 0
    assert found.without_rgb != 0
    assert_same(
        attribute(model, *inputs, PIXEL, mask_x=torch.tensor([False])), attribute(model, *inputs, PIXEL)
    )


def test_nothing_is_left_behind_and_the_callers_mode_does_not_matter(model, inputs):
    wanted = [p.requires_grad for p in model.parameters()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = attribute(model, *inputs, PIXEL)
    with torch.no_grad():
        assert_same(attribute(model, *inputs, PIXEL), plain)
    with torch.inference_mode():
        made_inside = [image.clone() for image in inputs]
        assert_same(attribute(model, *made_inside, PIXEL), plain)
        assert torch.is_inference_mode_enabled()
    assert [p.requires_grad for p in model.parameters()] == wanted
    assert any(wanted)
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not inputs[0].requires_grad


def test_a_frozen_model_works_as_well(inputs):
    free = stirred(tiny_model("swin")).eval()
    expected = attribute(free, *inputs, PIXEL)
    assert_same(attribute(free.requires_grad_(False), *inputs, PIXEL), expected)


def test_a_region_of_one_position_is_that_pixel(swin, inputs):
    region = np.zeros(SIZE, bool)
    region[28:32, 48:52] = True
    found = attribute(swin, *inputs, Target("region", region=region))
    assert_same(
        dataclasses.replace(found, score=""), dataclasses.replace(attribute(swin, *inputs, PIXEL), score="")
    )
    assert found.score.endswith(" over the region")


def test_a_region_counts_positions_as_far_as_it_covers_them(swin, inputs):
    region = np.zeros(SIZE, bool)
    region[28:32, 48:54] = True  # one position and half of the next
    found = attribute(swin, *inputs, Target("region", region=region, class_index=2))
    logits = fused(swin, *inputs)[2, 7, 12:14]
    assert found.value == pytest.approx(float(logits[0] * 2 + logits[1]) / 3, abs=1e-5)


def test_a_region_takes_its_most_frequent_class(swin, inputs):
    logits = fused(swin, *inputs)
    found = attribute(swin, *inputs, Target("region", region=np.ones(SIZE, bool)))
    index = int(logits.argmax(dim=0).flatten().bincount().argmax())
    assert found.score == f"mean fused logit of {swin.config.classes[index]} over the region"
    assert found.value == pytest.approx(float(logits[index].mean()), abs=1e-5)


def test_a_class_counts_where_it_is_predicted(swin, inputs):
    logits = fused(swin, *inputs)
    labels = logits.argmax(dim=0)
    index = int(labels[7, 12])
    assert 0 < (labels == index).sum() < labels.numel()
    found = attribute(swin, *inputs, Target("class", class_index=index))
    assert found.value == pytest.approx(float(logits[index][labels == index].mean()), abs=1e-5)
    region = (labels == index).repeat_interleave(4, dim=0).repeat_interleave(4, dim=1).numpy()
    same = attribute(swin, *inputs, Target("region", region=region))
    assert_same(dataclasses.replace(same, score=found.score), found)


def test_the_class_of_a_pixel_can_be_chosen(swin, inputs):
    logits = fused(swin, *inputs)[:, 7, 12]
    for index in range(len(logits)):
        found = attribute(swin, *inputs, dataclasses.replace(PIXEL, class_index=index))
        assert found.value == pytest.approx(float(logits[index]), abs=1e-5)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target("pixel", pixel=(64, 0)), r"pixel \(64, 0\) is outside the image of 64 x 96 pixels"),
        (Target("pixel", pixel=(0, -1)), "outside the image"),
        (Target("pixel", pixel=(0, 0), class_index=5), "class 5 does not exist: .* classes 0 to 4"),
        (
            Target("region", region=np.ones((16, 24), bool)),
            r"give a bool array of the image's size, \(64, 96\)",
        ),
        (Target("region", region=np.ones(SIZE)), "dtype float64; give a bool array"),
        (Target("region", region=np.zeros(SIZE, bool)), "the region is empty"),
    ],
)
def test_targets_that_do_not_fit_are_refused(swin, inputs, target, message):
    with pytest.raises(ValueError, match=message):
        attribute(swin, *inputs, target)


def test_a_class_that_is_predicted_nowhere_is_refused(swin, inputs):
    present = set(fused(swin, *inputs).argmax(dim=0).unique().tolist())
    absent = min(set(range(5)) - present)
    classes = swin.config.classes
    with pytest.raises(
        ValueError, match=f"{classes[absent]} is predicted nowhere; choose one of: .*"
    ) as error:
        attribute(swin, *inputs, Target("class", class_index=absent))
    assert all(classes[index] in str(error.value) for index in present)


def masks(model, inputs) -> tuple[np.ndarray, np.ndarray]:
    """The fused classes at the head's positions and of the mask, at the image's size."""
    logits = fused(model, *inputs)
    wide = F.interpolate(logits[None], SIZE, mode="bilinear", align_corners=False)[0]
    return logits.argmax(dim=0).numpy(), wide.argmax(dim=0).numpy()


@pytest.fixture
def between(swin, inputs):
    """A model whose class 0 lies half way from class 2 to 3: it wins between their positions, at none."""
    model = copy.deepcopy(swin)
    classifier = model.heads["fused"].classifier
    with torch.no_grad():
        for values in (classifier.weight, classifier.bias):
            values[0] = (values[2] + values[3]) / 2
        classifier.bias[[1, 4]] -= 100
        logits = fused(model, *inputs)
        classifier.bias[0] += 0.4 * (logits[2] - logits[3]).abs().min()
    return model


def test_a_class_that_wins_at_no_position_counts_as_far_as_its_pixels_cover_them(between, inputs):
    positions, mask = masks(between, inputs)
    assert 0 in mask
    assert 0 not in positions
    found = attribute(between, *inputs, Target("class", class_index=0))
    same = attribute(between, *inputs, Target("region", region=mask == 0, class_index=0))
    assert_same(dataclasses.replace(same, score=found.score), found)
    assert found.score == f"mean fused logit of {between.config.classes[0]} where it is predicted"
    with pytest.raises(ValueError, match="predicted nowhere"):
        attribute(between, *inputs, Target("class", class_index=1))


def test_a_pixels_region_is_connected_by_sides_and_of_one_class():
    labels = np.array([[1, 1, 0, 2], [0, 1, 0, 2], [2, 0, 1, 1], [2, 2, 1, 1]], np.uint8)
    expected = {(0, 0): [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
                (3, 2): [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]],
                (1, 3): [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]],
                (1, 0): [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]}  # fmt: skip
    for pixel, region in expected.items():
        found = region_at(labels, pixel)
        assert found.dtype == bool
        assert np.array_equal(found, region)
    assert region_at(labels * 0, (2, 2)).all()


def test_targets_of_a_masks_pixel():
    labels = np.repeat(np.array([[3, 3, 1], [1, 1, 3]], np.uint8), 2, axis=0)
    for target, expected in (
        (target_at(labels, (0, 1)), Target("pixel", pixel=(0, 1), class_index=3)),
        (target_at(labels, (0, 1), "class"), Target("class", class_index=3)),
        (target_at(labels, (0, 1), "class", 2), Target("class", class_index=2)),
    ):
        assert vars(target) == vars(expected)
    region = target_at(labels, (0, 1), "region", 0)
    assert np.array_equal(region.region, region_at(labels, (0, 1)))
    assert (region.kind, region.pixel, region.class_index) == ("region", None, 0)
    for pixel in ((-1, 0), (4, 0), (0, 3)):
        for find in (target_at, region_at):
            with pytest.raises(ValueError, match="is outside the image of 4 x 3 pixels"):
                find(labels, pixel)
    with pytest.raises(ValueError, match="choose one of pixel, region, class"):
        target_at(labels, (0, 0), "image")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "image"}, "kind of target 'image': choose one of pixel, region, class"),
        ({"kind": "pixel"}, "a target of kind 'pixel' needs its pixel"),
        ({"kind": "region", "pixel": (1, 1)}, "needs its region"),
        ({"kind": "class"}, "needs its class_index"),
    ],
)
def test_incomplete_targets_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Target(**fields)


def test_batches_training_and_too_large_inputs_are_refused(swin, inputs, monkeypatch):
    with pytest.raises(ValueError, match="rgb holds 2 pairs; attribution takes one pair"):
        attribute(swin, *pair(2, *SIZE), PIXEL)
    with pytest.raises(ValueError, match=r"in training mode, .* call model.eval\(\)"):
        attribute(tiny_model("swin").train(), *inputs, PIXEL)
    with torch.no_grad():
        trace = swin(*inputs, trace=True).trace
    scores = sum(t.query.shape[1] * t.query.shape[2] * t.key.shape[2] for t in trace)
    monkeypatch.setattr(ktb.analysis.attribution, "MAX_GRAPH_ENTRIES", scores)
    attribute(swin, *inputs, PIXEL)
    monkeypatch.setattr(ktb.analysis.attribution, "MAX_GRAPH_ENTRIES", scores - 1)
    with pytest.raises(ValueError, match="64 x 96 pixels is too large for attribution"):
        attribute(swin, *inputs, PIXEL)


def test_a_prediction_is_attributed_in_pixels_of_its_rgb_image():
    predictor = Predictor(depth_model())
    rgb, depth = synthetic_pair(95, 127)
    prediction = predictor(rgb, depth, options=MM)
    found = attribute_prediction(predictor, rgb, prediction.x, Target("pixel", pixel=(94, 126)))
    index = int(prediction.logits["fused"][0, :, -1, -1].argmax())
    assert found.value == pytest.approx(float(prediction.logits["fused"][0, index, -1, -1]), abs=1e-4)
    assert found.score.endswith(" at (94, 126)")
    assert found.rgb.shape == tuple(side // 4 for side in prediction.network_hw)
    alone = predictor(rgb, None)
    change = (alone.logits["fused"] - prediction.logits["fused"])[0, index, -1, -1]
    assert found.without_x == pytest.approx(float(change), abs=1e-4)
    blind = attribute_prediction(predictor, rgb, alone.x, Target("pixel", pixel=(94, 126)))
    assert np.abs(blind.x).max() == blind.without_x == 0
    assert blind.value == pytest.approx(float(alone.logits["fused"][0, :, -1, -1].max()), abs=1e-4)
    with pytest.raises(ValueError, match="X was read for an RGB image of"):
        attribute_prediction(predictor, rgb[:64, :64], prediction.x, PIXEL)


def test_the_class_of_a_pixel_is_the_one_of_the_mask():
    predictor = Predictor(load_model("ktb-lite-nyuv2-depth"), short_side=64)  # a random one may see one class
    rgb, depth = synthetic_pair(95, 127)
    prediction = predictor(rgb, depth, options=MM)
    labels = prediction.labels["fused"]
    coarse = prediction.logits["fused"][0].argmax(dim=0).numpy()
    rows, columns = ((np.arange(n) + 0.5) * m / n for n, m in zip(labels.shape, coarse.shape))
    differs = labels != coarse[np.ix_(rows.astype(int), columns.astype(int))]
    assert differs.any()
    for y, x in np.argwhere(differs)[:: max(1, differs.sum() // 4)]:
        found = attribute_prediction(predictor, rgb, prediction.x, Target("pixel", pixel=(int(y), int(x))))
        assert found.score == f"fused logit of {prediction.classes[labels[y, x]]} at ({y}, {x})"


def test_the_embedded_model_reacts_to_both_sensors():
    predictor = Predictor(load_model(DEFAULT_MODEL))
    rgb = read_image_rgb(EXAMPLES / "bedroom_rgb.png")
    raw = read_x(EXAMPLES / "bedroom_depth.png")
    prediction, alone = predictor(rgb, raw), predictor(rgb, None)
    rows, columns = prediction.logits["fused"].shape[-2:]
    labels = prediction.logits["fused"][0].argmax(dim=0)
    index = int(labels.flatten().bincount().argmax())
    found = attribute_prediction(predictor, rgb, prediction.x, Target("class", class_index=index))
    chosen = labels == index
    before, after = (p.logits["fused"][0, index][chosen].mean() for p in (prediction, alone))
    assert found.rgb.shape == found.x.shape == (rows, columns)
    assert found.value == pytest.approx(float(before), abs=1e-3)
    assert found.without_x == pytest.approx(float(after - before), abs=1e-3)
    assert 0.05 < found.share_x < 0.95
