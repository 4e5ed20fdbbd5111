"""Arrays in, predictions and their files out: sizes, decisions in bands, class tables, messages."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.models import MM, depth_model, stirred, tiny_model
from helpers.pairs import synthetic_pair
from PIL import Image

import ktb.inference.predictor
from ktb import Predictor, XOptions, save_result
from ktb.analysis.agreement import entropy_map
from ktb.config import BRANCHES
from ktb.inference.postprocess import Upsampling, confidence_of, labels_of, logits_at
from ktb.inference.prediction import read_bilinear
from ktb.inference.preprocess import network_size, resize_for_network
from ktb.outputs.files import result_files
from ktb.visualize import overlay

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def predictor():
    return Predictor(depth_model())


@pytest.fixture(scope="module")
def pair():
    return synthetic_pair(95, 127)


@pytest.fixture(scope="module")
def prediction(predictor, pair):
    return predictor(*pair, options=MM)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (95, 127), (480, 37)])
def test_results_have_the_size_of_the_rgb_image(predictor, size):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    x = rng.integers(500, 5000, size, dtype=np.uint16)
    prediction = predictor(rgb, x, trace=False)
    for branch in BRANCHES:
        assert prediction.labels[branch].shape == prediction.confidences[branch].shape == size
        assert prediction.labels[branch].dtype == np.uint8
        assert prediction.labels[branch].max() < 5
        assert prediction.confidences[branch].min() >= 1 / 5 - 1e-6
        assert prediction.confidences[branch].max() <= 1 + 1e-6
        assert prediction.colors(branch).shape == (*size, 3)
    assert prediction.trace is None
    assert prediction.x.image.shape == (*size, 3)


def test_large_rgb_images_are_decided_in_tiles(predictor, monkeypatch):
    rgb = np.random.default_rng(1).integers(0, 256, (1500, 2000, 3), dtype=np.uint8)
    x = np.tile(np.linspace(500, 5000, 2000).astype(np.uint16), (1500, 1))
    values, rows = [], []
    tiles = Upsampling.tiles
    monkeypatch.setattr(
        Upsampling,
        "tiles",
        lambda *args, **options: (
            values.append(tile.values.numel()) or rows.append(tile.values[:, 0].numel()) or tile
            for tile in tiles(*args, **options)
        ),
    )
    prediction = predictor(rgb, x, trace=False)
    assert prediction.network_hw == (64, 96)
    assert not values  # of a large image, labels are decided when they are read
    assert {prediction.labels[branch].shape for branch in ("fused", "rgb", "x")} == {(1500, 2000)}
    assert sum(rows) == 2 * 3 * 1500 * 2000  # for the labels and for the confidences
    assert max(values) <= ktb.inference.postprocess.MAX_TILE_VALUES


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((480, 640), None, (480, 640)),
        ((481, 640), None, (512, 640)),
        ((32, 32), None, (32, 32)),
        ((33, 47), None, (64, 64)),
        ((480, 640), 240, (256, 320)),
        ((640, 480), 240, (320, 256)),
        ((480, 640), 480, (480, 640)),
        ((100, 100), 256, (256, 256)),
        ((425, 560), 240, (256, 320)),
        ((1500, 2000), 64, (64, 96)),
        ((720, 1280), 720, (736, 1280)),
    ],
)
def test_network_sizes_are_multiples_of_32_no_smaller_than_asked(size, short_side, expected):
    assert network_size(size, short_side) == expected


def test_short_side_of_the_call_wins_over_the_models():
    model = depth_model(short_side=64)
    assert Predictor(model).network_size((480, 640)) == (64, 96)
    assert Predictor(model, 128).network_size((480, 640)) == (128, 192)
    assert Predictor(depth_model(None)).network_size((480, 640)) == (480, 640)
    with pytest.raises(ValueError, match="short_side is 16; the network needs at least 32"):
        Predictor(model, 16)


@pytest.mark.parametrize("size", [(48, 64), (50, 77), (200, 130), (24, 31)])
@pytest.mark.parametrize("values_at_once", [1, 2500, None])
@pytest.mark.parametrize("via", [None, (64, 96), (48, 64), (130, 70)])
def test_labels_and_confidences_are_interpolation_softmax_and_argmax(size, via, values_at_once, monkeypatch):
    monkeypatch.setattr(ktb.inference.postprocess, "TILE_COLUMNS", 50)
    logits = 4 * torch.randn(1, 6, 48, 64, generator=torch.Generator().manual_seed(0))
    upsampling = Upsampling(logits, size, via, values_at_once=values_at_once)
    label, confidence = labels_of(upsampling).numpy(), confidence_of(upsampling, 1.5).numpy()
    full = logits
    for step in filter(None, (via, size)):
        full = F.interpolate(full, size=step, mode="bilinear", align_corners=False)
    full = (full / 1.5).softmax(dim=1)
    expected, index = full.max(dim=1)
    np.testing.assert_allclose(confidence, expected[0].numpy(), atol=1e-5)
    differs = label != index[0].numpy()
    top_two = full.topk(2, dim=1).values[0]
    assert ((top_two[0] - top_two[1]).numpy()[differs] < 1e-4).all()  # ties may go either way
    assert differs.mean() < 0.001


@pytest.mark.parametrize("seed", range(24))
def test_leaving_out_classes_that_cannot_win_changes_no_label(seed, monkeypatch):
    """To the bit, also among ties, whose first class is the label."""
    random = np.random.default_rng(seed)
    monkeypatch.setattr(ktb.inference.postprocess, "TILE_COLUMNS", int(random.integers(5, 90)))
    shape = 1, int(random.integers(1, 30)), *random.integers(1, 40, 2)
    logits = random.normal(size=shape) * 10 ** random.uniform(-1, 2)
    if seed % 3:
        logits = np.round(logits, int(seed % 3) - 2)  # many ties
    if seed % 8 == 7:
        logits[0, :, :2, :3] = np.nan
    logits = torch.as_tensor(logits, dtype=torch.float32)
    size = tuple(int(side) for side in random.integers(1, 130, 2))
    via = (4 * shape[2], 4 * shape[3]) if seed % 2 else None
    upsampling = Upsampling(logits, size, via, values_at_once=int(random.integers(1, 50_000)))
    label = labels_of(upsampling)
    for tile in upsampling.tiles():
        assert torch.equal(label[tile.rows, tile.columns].long(), tile.values.max(dim=1).indices)


def test_half_precision_is_decided_in_single():
    logits = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    for size in ((32, 32), (64, 64)):
        upsampling = Upsampling(logits, size)
        assert labels_of(upsampling).shape == size
        assert confidence_of(upsampling).isfinite().all()


def test_labels_are_what_the_network_says(predictor, pair, prediction):
    """The whole way by hand: resize, normalise, forward, upsample."""
    rgb, depth = pair
    model, hw = predictor.model, (64, 96)
    assert prediction.network_hw == hw
    reading = predictor.read(depth, rgb.shape[:2], MM)
    photo, x = (
        torch.from_numpy(cv2.resize(image, hw[::-1], interpolation=cv2.INTER_LINEAR)).permute(2, 0, 1)[None]
        for image in (rgb.astype(np.float32) / 255, reading.image)
    )
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        output = model((photo - mean) / std, x)
        for branch in BRANCHES:
            logits = F.interpolate(getattr(output, branch), size=rgb.shape[:2], mode="bilinear")
            expected, index = logits.softmax(dim=1).max(dim=1)
            np.testing.assert_allclose(prediction.confidences[branch], expected[0].numpy(), atol=1e-4)
            assert (prediction.labels[branch] == index[0].numpy()).mean() > 0.999


def test_class_table_sums_to_one_and_is_sorted(prediction):
    for branch in BRANCHES:
        rows = prediction.class_table(branch)
        label, confidence = prediction.labels[branch], prediction.confidences[branch]
        assert {row.index for row in rows} == set(np.unique(label).tolist())
        assert sum(row.share for row in rows) == pytest.approx(1)
        assert [row.share for row in rows] == sorted((row.share for row in rows), reverse=True)
        for row in rows:
            assert row.name == prediction.classes[row.index]
            assert row.color == prediction.palette[row.index]
            assert row.share == pytest.approx((label == row.index).mean())
            assert row.confidence == pytest.approx(confidence[label == row.index].mean(), rel=1e-4)


def test_class_table_of_a_known_map(prediction):
    label = np.array([[4, 4, 4, 1]], np.uint8)
    confidence = np.array([[0.5, 0.7, 0.9, 0.25]], np.float32)
    made = dataclasses.replace(prediction, labels={"fused": label}, confidences={"fused": confidence})
    first, second = made.class_table()
    assert (first.index, first.name, first.share) == (4, "survivor", 0.75)
    assert (second.index, second.name, second.share) == (1, "fire extinguisher", 0.25)
    assert first.confidence == pytest.approx(0.7)
    assert second.confidence == pytest.approx(0.25)


def test_an_array_and_its_reading_give_the_same(predictor, pair, prediction):
    rgb, depth = pair
    again = predictor(rgb, predictor.read(depth, rgb.shape[:2], MM))
    for branch in BRANCHES:
        np.testing.assert_array_equal(again.labels[branch], prediction.labels[branch])
        np.testing.assert_array_equal(again.confidences[branch], prediction.confidences[branch])
    assert again.x.summary == prediction.x.summary
    assert len(again.trace) == 4
    assert not again.trace[0].query.requires_grad


def test_the_unit_and_the_models_range_reach_the_network(predictor, pair):
    rgb, depth = pair
    near, far = (predictor(rgb, depth, options=XOptions(unit=unit), trace=False) for unit in ("0.1mm", "mm"))
    assert near.x.depth.median * 10 == pytest.approx(far.x.depth.median)
    assert np.abs(near.confidences["fused"] - far.confidences["fused"]).max() > 1e-3
    config = dataclasses.replace(predictor.model.config.inputs, max_metres=5.0)
    model = depth_model()
    model.config = dataclasses.replace(model.config, inputs=config)
    np.testing.assert_allclose(
        Predictor(model).read(depth, rgb.shape[:2], MM).image,
        np.minimum(2 * predictor.read(depth, rgb.shape[:2], MM).image, 1),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("rgb", "message"),
    [
        (np.zeros((64, 64), np.uint8), r"shape \(64, 64\), dtype uint8; give an \(H, W, 3\) uint8 array"),
        (np.zeros((64, 64, 4), np.uint8), r"shape \(64, 64, 4\)"),
        (np.zeros((64, 64, 3), np.float32), "dtype float32"),
        (np.zeros((3, 64, 64), np.uint8), r"shape \(3, 64, 64\)"),
        (np.zeros((31, 64, 3), np.uint8), "64 x 31 pixels; each side needs 32"),
        (np.zeros((32, 16_385, 3), np.uint8), "16385 x 32 pixels"),
        (np.broadcast_to(np.uint8(0), (8000, 8000, 3)), "at most 50,000,000 pixels"),
        ([[1, 2, 3]], "the RGB image is list"),
    ],
)
def test_rgb_images_that_do_not_fit_are_refused(predictor, rgb, message):
    with pytest.raises(ValueError, match=message):
        predictor(rgb, np.ones((64, 64), np.uint16))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((95, 127), np.uint16), "no measurement"),
        (np.full((95, 200), 900, np.uint16), "proportions differ"),
        (np.full((95, 127, 5), 900, np.uint16), r"an array of shape \(95, 127, 5\)"),
        (np.full((95, 127), "a"), "dtype <U1"),
    ],
)
def test_x_arrays_that_do_not_fit_are_refused(predictor, pair, x, message):
    with pytest.raises(ValueError, match=message):
        predictor(pair[0], x)


def test_a_reading_for_another_rgb_image_is_refused(predictor, pair):
    reading = predictor.read(pair[1], (95, 127))
    with pytest.raises(ValueError, match=r"read for an RGB image of \(95, 127\).*this one is \(96, 127\)"):
        predictor(np.zeros((96, 127, 3), np.uint8), reading)


def test_resize_for_network():
    image = np.random.default_rng(2).random((64, 96, 3), dtype=np.float32)
    assert resize_for_network(image, (64, 96)) is image
    assert resize_for_network(image[..., 0], (32, 64)).shape == (32, 64)
    halved = resize_for_network(image, (32, 48))
    np.testing.assert_allclose(halved, image.reshape(32, 2, 48, 2, 3).mean(axis=(1, 3)), atol=1e-5)
    enlarged = resize_for_network(image, (128, 192))
    np.testing.assert_allclose(
        enlarged,
        F.interpolate(torch.from_numpy(image).permute(2, 0, 1)[None], (128, 192), mode="bilinear")[0]
        .permute(1, 2, 0)
        .numpy(),
        atol=1e-4,
    )


def test_result_files_are_what_they_are_called(pair, prediction):
    files = result_files(pair[0], prediction)
    assert set(files) == {
        *(f"{kind}_{branch}.png" for kind in ("labels", "mask") for branch in BRANCHES),
        "overlay.png",
        "x.png",
        "prediction.json",
    }
    pictures = {}
    for name, data in files.items():
        if name.endswith(".png"):
            picture = Image.open(io.BytesIO(data))
            picture.load()
            assert picture.format == "PNG"
            assert picture.text["Checkpoint"] == "tiny µ"
            assert picture.text["X"] == "measured"
            assert picture.size == (127, 95)
            pictures[name] = picture
    for branch in BRANCHES:
        indexed = pictures[f"labels_{branch}.png"]
        assert indexed.mode == "P"
        np.testing.assert_array_equal(np.asarray(indexed), prediction.labels[branch])
        np.testing.assert_array_equal(np.asarray(indexed.convert("RGB")), prediction.colors(branch))
        np.testing.assert_array_equal(np.asarray(pictures[f"mask_{branch}.png"]), prediction.colors(branch))
    np.testing.assert_array_equal(
        np.asarray(pictures["overlay.png"]), overlay(pair[0], prediction.colors("fused"), 0.6)
    )
    np.testing.assert_array_equal(np.asarray(pictures["x.png"]), prediction.x.preview)


@pytest.fixture(scope="module")
def without_x(predictor, pair):
    return predictor(pair[0], None)


def test_without_x_the_x_stream_runs_on_zero_tokens(predictor, pair, prediction, without_x):
    """The fused labels are those of the network with x masked, whatever X holds; the rgb tokens stay."""
    model, hw = predictor.model, without_x.network_hw
    resized = resize_for_network(pair[0].astype(np.float32) / 255, hw)
    rgb = model.normalize_rgb(torch.from_numpy(resized).permute(2, 0, 1)[None])
    with torch.inference_mode():
        output = model(rgb, torch.rand_like(rgb), mask_x=torch.tensor([True]))
    for branch in BRANCHES:
        np.testing.assert_array_equal(
            without_x.labels[branch],
            labels_of(Upsampling(getattr(output, branch), pair[0].shape[:2])).numpy(),
        )
    assert all((without_x.confidences[b] != prediction.confidences[b]).any() for b in BRANCHES)


def test_a_result_without_x_says_so_in_every_file(pair, without_x):
    assert without_x.x.origin == "missing"
    files = result_files(pair[0], without_x)
    summary = json.loads(files["prediction.json"])
    assert summary["x"]["origin"] == "missing"
    assert "RGB image alone" in summary["warnings"][0]
    for name, data in files.items():
        if name.endswith(".png"):
            assert Image.open(io.BytesIO(data)).text["X"] == "missing", name
    shown = np.asarray(Image.open(io.BytesIO(files["overlay.png"])))
    changed = (shown != overlay(pair[0], without_x.colors("fused"), 0.6)).any(axis=-1)
    assert changed[-1, 0]
    assert not changed[:40].any()


def test_reading_no_x_needs_a_size(predictor):
    assert predictor.read(None, (95, 127)).image.shape == (95, 127, 3)
    with pytest.raises(ValueError, match="size_hw"):
        predictor.read(None)


def test_summary_is_json_with_everything_but_the_pictures(pair, prediction):
    summary = json.loads(result_files(pair[0], prediction)["prediction.json"])
    assert summary == prediction.summary()
    assert summary["model"] == "tiny µ"
    assert summary["size"] == {"height": 95, "width": 127}
    assert summary["network_size"] == {"height": 64, "width": 96}
    assert summary["device"] == "cpu"
    assert summary["seconds"] >= 0
    assert "millimetres (certain)" in summary["x"]["summary"]
    assert summary["x"]["origin"] == "measured"
    assert summary["x"]["facts"]["format"] == "uint16 array"
    assert summary["warnings"] == []
    assert list(summary["branches"]) == ["fused", "rgb", "x"]
    for rows in summary["branches"].values():
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        assert all(0 < row["confidence"] <= 1 for row in rows)


def test_save_result_writes_the_files_into_a_new_folder(pair, prediction, tmp_path):
    folder = tmp_path / "new" / "folder"
    paths = save_result(folder, pair[0], prediction)
    expected = result_files(pair[0], prediction)
    assert [path.name for path in paths] == list(expected)
    assert sorted(folder.iterdir()) == sorted(paths)
    assert all(path.read_bytes() == expected[path.name] for path in paths)


def test_strips_and_images_beyond_4k_are_refused_before_they_take_memory(predictor):
    with pytest.raises(ValueError, match=r"4096 x 32 pixels .* 16:1"):
        predictor(np.zeros((32, 4096, 3), np.uint8), np.ones((32, 4096), np.uint16))
    native = Predictor(predictor.model)
    native.short_side, native.tile = None, None
    assert native.network_size((2160, 3840)) == (2176, 3840)
    with pytest.raises(ValueError, match="short_side"):
        native.network_size((6000, 8000))


def test_probabilities_at_a_pixel_are_those_that_the_mask_was_decided_by(prediction):
    height, width = prediction.labels["fused"].shape
    for y, x in ((0, 0), (height - 1, width - 1), (17, 101), (60, 3)):
        for branch, probabilities in prediction.probabilities_at(y, x).items():
            assert probabilities.sum() == pytest.approx(1, abs=1e-5)
            assert probabilities[prediction.labels[branch][y, x]] == pytest.approx(
                prediction.confidences[branch][y, x], abs=1e-4
            )
    with pytest.raises(ValueError, match="outside the RGB image"):
        prediction.probabilities_at(height, 0)


def test_temperatures_scale_every_probability_and_no_label(pair, prediction):
    model = depth_model()
    model.config = dataclasses.replace(model.config, temperatures=(2.0, 0.5, 1.0))
    found = Predictor(model)(*pair, options=MM)
    assert found.is_calibrated
    assert not prediction.is_calibrated
    assert found.summary()["temperatures"] == {"fused": 2.0, "rgb": 0.5, "x": 1.0}
    for branch, temperature in found.temperatures.items():
        assert np.array_equal(found.labels[branch], prediction.labels[branch])
        assert torch.equal(found.logits[branch], prediction.logits[branch])
        plain, scaled = (one.probabilities_at(17, 101)[branch] for one in (prediction, found))
        expected = plain ** (1 / temperature)
        assert scaled == pytest.approx(expected / expected.sum(), abs=1e-5)
        assert found.confidences[branch][17, 101] == pytest.approx(scaled.max(), abs=1e-4)
    assert entropy_map(found, "fused").mean() > entropy_map(prediction, "fused").mean()
    assert entropy_map(found, "rgb").mean() < entropy_map(prediction, "rgb").mean()
    assert np.array_equal(found.confidences["x"], prediction.confidences["x"])


def test_logits_at_some_rows_and_columns_are_those_of_the_whole_picture():
    logits = torch.randn(1, 5, 12, 16, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(F.interpolate(logits, (48, 64), mode="bilinear"), (95, 130), mode="bilinear")[0]
    rows, columns = [0, 3, 94], range(1, 130, 4)
    found = logits_at(logits, rows, columns, (95, 130), (48, 64))
    assert torch.allclose(found, whole[:, rows][:, :, list(columns)], atol=1e-5)


@pytest.mark.parametrize("sizes", [[(97, 30)], [(48, 64), (131, 40)], [(12, 16)], [(24, 32), (6, 90)]])
def test_a_pixel_of_enlarged_maps_is_that_of_the_whole_picture(sizes):
    maps = torch.randn(5, 12, 16, generator=torch.Generator().manual_seed(0))
    whole = maps[None]
    for size in sizes:
        whole = F.interpolate(whole, size, mode="bilinear", align_corners=False)
    height, width = sizes[-1]
    for y, x in itertools.product((0, 1, height // 2, height - 1), (0, 5, width - 1)):
        assert torch.allclose(read_bilinear(maps, (y, x), *sizes), whole[0, :, y, x], atol=1e-5)


def test_the_trace_tells_how_strongly_prompts_changed_the_tokens(prediction, pair, predictor):
    assert [tuple(p.shape[:2]) for p in prediction.prompts] == [(1, 2)] * 4
    assert all((p > 0).all() and p.isfinite().all() for p in prediction.prompts)
    assert predictor(*pair, options=MM, trace=False).prompts is None


@pytest.mark.usefixtures("kernels")
def test_a_model_in_training_mode_is_used_in_evaluation_mode_and_left_as_it_was():
    model = stirred(tiny_model("lite")).train()
    modes = {name: module.training for name, module in model.named_modules()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    predictor = Predictor(model, short_side=64, runtime="eager")
    assert {name: module.training for name, module in model.named_modules()} == modes
    rgb, x = synthetic_pair()
    first, second = predictor(rgb, x), predictor(rgb, x)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert first.logits["fused"].equal(second.logits["fused"])
    again = Predictor(model.eval(), short_side=64, runtime="eager")(rgb, x)
    assert first.logits["fused"].equal(again.logits["fused"])


def test_the_models_mode_comes_back_when_the_last_thread_is_done():
    predictor = Predictor(tiny_model("lite").train(), runtime="eager")
    with predictor.evaluating():
        with predictor.evaluating() as model:
            assert not model.training
        assert not model.training
    assert model.training
