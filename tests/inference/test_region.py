"""Ablation inside a region: which tokens it covers, what stays outside, and its two ends."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from helpers.models import MM, depth_model, stirred, tiny_model
from helpers.models import pair as tensors
from helpers.pairs import synthetic_pair

from ktb import Predictor
from ktb.analysis.comparison import region_effect
from ktb.analysis.counterfactual import Perturbation, predict_perturbed
from ktb.analysis.describe import describe_region
from ktb.config import BRANCHES
from ktb.inference.domain import DomainVerdict
from ktb.inference.region import region_mask, region_tokens
from ktb.inference.runtimes.eager import EagerRuntime

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (95, 127)
SENSORS = ("x", "rgb")


@pytest.fixture(scope="module")
def predictor():
    return Predictor(depth_model().eval(), runtime="eager")


@pytest.fixture(scope="module")
def pair():
    return synthetic_pair(*SIZE)


@pytest.fixture(scope="module")
def full(predictor, pair):
    return predictor(*pair, options=MM)


@pytest.fixture(scope="module")
def ablated(predictor, pair, full):
    return {drop: predictor(pair[0], full.x, trace=False, drop=drop) for drop in SENSORS}


def assert_same(a, b):
    for branch in BRANCHES:
        assert torch.equal(a.logits[branch], b.logits[branch])
        assert np.array_equal(a.labels[branch], b.labels[branch])
        assert np.array_equal(a.confidences[branch], b.confidences[branch])


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kind", ["swin", "lite"])
@pytest.mark.parametrize("sensor", SENSORS)
@torch.no_grad()
def test_a_mask_of_all_tokens_is_the_mask_of_the_sample(kind, sensor):
    model, inputs = stirred(tiny_model(kind)).eval(), tensors(batch=2, height=64, width=96)
    whole = {f"mask_{sensor}": torch.tensor([True, False])}
    tokens = {f"mask_{sensor}": whole[f"mask_{sensor}"][:, None, None].expand(2, 16, 24)}
    one, other, plain = model(*inputs, **whole), model(*inputs, **tokens), model(*inputs)
    for branch in BRANCHES:
        assert torch.equal(getattr(one, branch), getattr(other, branch))
    assert not torch.equal(one.fused[0], plain.fused[0])
    assert torch.equal(one.fused[1], plain.fused[1])


@torch.no_grad()
def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"is \(1, 8, 8\); give \(2,\) for .* or \(2, 16, 24\)"):
        tiny_model("lite")(*tensors(), mask_x=torch.ones(1, 8, 8, dtype=torch.bool))


@pytest.mark.parametrize("sensor", SENSORS)
def test_the_whole_image_is_the_ablation_of_the_sensor(predictor, pair, full, ablated, sensor):
    for region in (np.ones(SIZE, bool), (0, 0, 127, 95), [(0, 0), (126, 0), (126, 94), (0, 94)]):
        found = predictor(pair[0], full.x, trace=False, drop=sensor, region=region)
        assert_same(found, ablated[sensor])
        assert found.x.warnings == ablated[sensor].x.warnings
        assert found.x.origin == ablated[sensor].x.origin


@pytest.mark.parametrize("sensor", SENSORS)
def test_all_tokens_but_one_are_no_ablation_of_the_sensor(predictor, pair, full, ablated, sensor):
    region = np.ones(SIZE, bool)
    region[:20, :20] = False
    found = predictor(pair[0], full.x, trace=False, drop=sensor, region=region)
    assert not torch.equal(found.logits["fused"], ablated[sensor].logits["fused"])
    assert not torch.equal(found.logits["fused"], full.logits["fused"])
    assert found.x.origin == full.x.origin
    assert "ablated in a region" in found.x.warnings[-1]


@pytest.mark.parametrize("sensor", SENSORS)
def test_what_the_sensor_has_inside_does_not_matter(predictor, pair, full, sensor):
    """The stem of Swin reads cells that do not overlap: all that it sees of the region is gone."""
    region = region_mask((40, 20, 100, 70), SIZE)
    rgb, x = pair[0].copy(), full.x
    if sensor == "rgb":
        rgb[region] = 255 - rgb[region]
    else:
        image = full.x.image.copy()
        image[region] = 1 - image[region]
        x = dataclasses.replace(full.x, image=image)
    wide = (36, 16, 104, 74)  # the image is resized by interpolation, which reads neighbours
    one, other = (
        predictor(*given, trace=False, drop=sensor, region=wide) for given in ((pair[0], full.x), (rgb, x))
    )
    assert_same(one, other)
    assert not torch.equal(predictor(rgb, x).logits["fused"], full.logits["fused"])


def test_a_token_belongs_to_a_region_that_it_overlaps():
    rng = np.random.default_rng(0)
    for size, grid in (((12, 20), (3, 5)), ((95, 127), (16, 24)), ((5, 7), (16, 24))):
        mask = rng.random(size) < 0.05
        found = region_tokens(mask, grid)
        for row, column in np.ndindex(grid):
            rows, columns = (
                [p for p in range(side) if p * cells < (at + 1) * side and (p + 1) * cells > at * side]
                for at, side, cells in ((row, size[0], grid[0]), (column, size[1], grid[1]))
            )
            assert found[row, column] == mask[np.ix_(rows, columns)].any()
    assert region_tokens(np.ones((95, 127), bool), (16, 24)).all()


def test_rectangles_and_polygons_are_masks_of_pixels():
    expected = np.zeros((10, 12), bool)
    expected[2:5, 3:9] = True
    assert np.array_equal(region_mask((3, 2, 9, 5), (10, 12)), expected)
    assert np.array_equal(region_mask([(3, 2), (8, 2), (8, 4), (3, 4)], (10, 12)), expected)
    assert np.array_equal(region_mask(expected, (10, 12)), expected)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (np.zeros(SIZE, bool), "the region is empty: nothing would be ablated. Choose at least one pixel"),
        (np.ones((4, 4), bool), r"mask of \(4, 4\) \(height, width\), but the RGB image has \(95, 127\)"),
        ((3, 4, 3, 9), r"\(3, 4, 3, 9\) is no rectangle in the image of 127 x 95 pixels"),
        ((0, 0, 128, 9), "no rectangle in the image"),
        ((0.5, 0, 10, 9), "give whole numbers"),
        ((0, float("nan"), 10, 9), "no rectangle"),
        ([(0, 0), (127, 5), (5, 5)], "points outside the image of 127 x 95 pixels"),
        ([(0, 0), (5, 5)], "3 to 1,000 pixels"),
        ([(0, 0)] * 1001, "3 to 1,000 pixels"),
        ([[0, 0], [1]], "the region is not readable: give a mask"),
        ({"left": 3}, "the region is not readable"),
        ([10**400, 0, 1, 1], "the region is not readable"),
    ],
)
def test_other_regions_are_refused(predictor, pair, full, region, message):
    with pytest.raises(ValueError, match=message):
        predictor(pair[0], full.x, drop="x", region=region)


def test_a_region_needs_a_sensor_that_is_there(predictor, pair, full):
    with pytest.raises(ValueError, match=r"the region needs the sensor .* give one of rgb, x"):
        predictor(pair[0], full.x, region=(0, 0, 9, 9))
    with pytest.raises(ValueError, match="the region needs a sensor: give drop"):
        Perturbation(region=(0, 0, 9, 9))
    with pytest.raises(ValueError, match=r"nothing to ablate in a region\. Give its X"):
        predictor(pair[0], None, drop="x", region=(0, 0, 9, 9))


def test_a_graph_leaves_regions_to_pytorch(predictor, pair, full):
    class Graph:
        """A runtime without masks of tokens."""

        name, precision, why = "onnx", "float32", "a test"

        def __call__(self, *args, **kwargs):
            raise AssertionError("asked for a region")

    graph = Predictor(predictor.model, runtime=Graph())
    region = {"drop": "x", "region": (10, 10, 60, 60), "trace": False}
    found = graph(pair[0], full.x, **region)
    assert_same(found, predictor(pair[0], full.x, **region))
    assert found.runtime == EagerRuntime.name


@pytest.mark.parametrize("sensor", SENSORS)
def test_tiles_ablate_a_region_as_one_pass(predictor, sensor):
    """The region lies across the tiles' border."""
    rgb, x = synthetic_pair(352, 416)
    whole, tiled = (Predictor(predictor.model, 352, "eager", tile=tile) for tile in (None, 256))
    reading = whole.read(x, rgb.shape[:2], MM)
    region = {"drop": sensor, "region": (150, 120, 300, 260), "trace": False}
    found, expected = tiled(rgb, reading, **region), whole(rgb, reading, **region)
    for branch in BRANCHES:
        torch.testing.assert_close(found.logits[branch], expected.logits[branch], atol=1e-3, rtol=1e-3)
    assert not torch.equal(expected.logits["fused"], whole(rgb, reading, trace=False).logits["fused"])


def test_a_run_with_a_region_takes_the_verdict_on_the_images(predictor, pair, full):
    judged = dataclasses.replace(full, domain=DomainVerdict("the rooms of this test", {"rgb": 0.5, "x": 2.0}))
    region = {"drop": "x", "region": (10, 10, 60, 60)}

    def domain_of(change: Perturbation, *base):
        return predict_perturbed(predictor, change, pair[0], full.x, *base).domain

    assert domain_of(Perturbation(**region), judged) is judged.domain
    assert domain_of(Perturbation(**region)) is None
    assert domain_of(Perturbation(**region, darken=0.5), judged) is None  # these are other images
    assert domain_of(Perturbation(darken=0.5), judged) is None


def test_a_batch_may_ablate_regions_of_some_pairs(predictor, pair, full):
    changes = ({}, {"drop": "x", "region": (10, 10, 60, 60)}, {"drop": "x"}, {"drop": "rgb"})
    prepared = [predictor.prepare(pair[0], full.x, **change) for change in changes]
    for output, change in zip(predictor.run(prepared), changes):
        alone = predictor(pair[0], full.x, trace=False, **change)
        torch.testing.assert_close(output.fused, alone.logits["fused"], rtol=1e-4, atol=1e-4)


def test_other_changes_apply_outside_the_region(predictor, pair, full):
    region = (10, 10, 60, 60)
    plain = Perturbation(drop="x", region=region)
    moved = Perturbation(drop="x", region=region, shift_xy=(9, 0))
    assert moved.words == ("X ablated in a region", "X moved by 9 px right")
    one, other = (predict_perturbed(predictor, change, pair[0], full.x) for change in (plain, moved))
    assert not torch.equal(one.logits["fused"], other.logits["fused"])
    assert_same(one, predictor(pair[0], full.x, drop="x", region=region))


def with_labels(prediction, labels):
    return dataclasses.replace(prediction, labels={**prediction.labels, "fused": labels})


def test_the_effect_counts_in_and_outside_the_region(full):
    before = np.zeros((10, 10), np.uint8)
    after = before.copy()
    after[:2, :5] = 1  # 10 of the 50 pixels inside
    after[2, :5] = 2
    after[9, 9] = 3  # 1 of the 50 outside
    region = region_mask((0, 0, 5, 10), (10, 10))
    found = region_effect(with_labels(full, before), with_labels(full, after), region, "x")
    names = full.classes
    assert np.array_equal(found.changed, before != after)
    assert (found.inside, found.outside) == (0.3, 0.02)
    assert [(one.before, one.after, one.share) for one in found.changes] == [
        (names[0], names[1], 0.2), (names[0], names[2], 0.1),
    ]  # fmt: skip
    assert [one.share for one in found.changes_outside] == [0.02]
    assert describe_region(found) == (
        f"Without X in this region 30 % of its pixels change: {names[0]} becomes {names[1]} (20 %), "
        f"{names[0]} becomes {names[2]} (10 %); 2 % change outside."
    )
    none = region_effect(with_labels(full, before), with_labels(full, before), np.ones((10, 10), bool), "rgb")
    assert describe_region(none) == "Without RGB in this region none of its pixels changes."
    with pytest.raises(ValueError, match="give those of one RGB image"):
        region_effect(full, full, region, "x")
