"""The bundle of a run, and the viewer that reads it: both give what Python computes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from ktb import Predictor
from ktb.analysis import Inspection, reliance
from ktb.analysis.faithfulness import image_scores
from ktb.inputs import XOptions, read_x
from ktb.outputs import bundle as bundles
from ktb.outputs.bundle import LEVEL_MAPS, details_bundle, make_bundle, read_bundle
from ktb.outputs.report import report_html

pytestmark = pytest.mark.usefixtures("one_thread")

EXAMPLES = {"bedroom": 1, "kitchen": 3, "living_room": 3, "office": 3}
"""Every so many pixels of each: one at its own size, the others at a ninth of the work."""
CELLS = ((0.5, 0.5), (0.0, 0.999), (0.31, 0.77))  # (y, x) as fractions of the image


# ---- the file


def test_a_bundle_reads_as_it_was_written(pair, prediction):
    made = make_bundle(pair[0], prediction, ablated={"x": prediction})
    data = made.to_bytes()
    read = read_bundle(data)
    assert read.header == made.header
    assert set(read.arrays) == set(made.arrays)
    for name, array in made.arrays.items():
        np.testing.assert_array_equal(read.arrays[name], array)
    assert data == make_bundle(pair[0], prediction, ablated={"x": prediction}).to_bytes()


def test_a_bundle_holds_what_the_prediction_says(pair, prediction):
    found = make_bundle(pair[0], prediction)
    np.testing.assert_array_equal(found.arrays["rgb"], pair[0])
    for branch in ("fused", "rgb", "x"):
        np.testing.assert_array_equal(found.arrays[f"labels.{branch}"], prediction.labels[branch])
        confidence = found.arrays[f"confidence.{branch}"] / bundles.THOUSANDTHS
        np.testing.assert_allclose(confidence, prediction.confidences[branch], atol=5e-4)
    for pixel in ((0, 0), (60, 80), (119, 159)):
        order = np.sort(probabilities := prediction.probabilities_at(*pixel)["fused"])
        assert found.arrays["second.fused"][pixel] == np.argsort(-probabilities)[1]
        assert found.arrays["margin.fused"][pixel] == pytest.approx(1000 * (order[-1] - order[-2]), abs=1)
    for maps in Inspection(prediction).all_maps():
        for name in (name for name in LEVEL_MAPS if getattr(maps, name) is not None):
            np.testing.assert_allclose(found.arrays[f"{name}.{maps.level}"], getattr(maps, name), atol=3e-4)


@pytest.mark.parametrize(
    ("modality", "stored", "unit", "at"),
    [
        ("thermal", lambda celsius: (celsius + 273.15) * 100, "°C", 21.5),
        ("nir", lambda celsius: celsius * 40, "", 860),
    ],
)
def test_a_bundle_holds_what_other_sensors_measured(predictor, pair, modality, stored, unit, at):
    celsius = np.full(pair[0].shape[:2], 21.5)
    celsius[:60] = 36.0
    x = stored(celsius).round().astype(np.uint16)
    x[:, :5] = 0 if modality == "thermal" else x[:, :5]  # no data
    options = XOptions(modality=modality, unit="0.01K" if unit else "auto")
    found = make_bundle(pair[0], predictor(pair[0], x, options=options))
    assert found.header["x_unit"] == unit
    values = found.arrays["x_values"]
    assert values[100, 100] == pytest.approx(at, abs=0.02)
    assert np.isnan(values[:, :5]).all() == (modality == "thermal")
    dark, bright = found.header["x_range"]
    assert dark == pytest.approx(at, abs=0.02)
    assert bright > dark


def test_a_bundle_has_no_values_of_events(predictor, pair):
    counts = np.zeros((*pair[0].shape[:2], 2), np.uint8)
    counts[10:90, 20:120] = 3
    found = make_bundle(pair[0], predictor(pair[0], counts, options=XOptions(modality="event")))
    assert "x_values" not in found.arrays
    assert found.header["x_range"] is None


def test_the_details_of_a_run_may_follow_it(pair, prediction):
    whole = make_bundle(pair[0], prediction)
    run = make_bundle(pair[0], prediction, with_details=False)
    details = details_bundle(prediction)
    assert (run.header["levels"], run.header["details_follow"]) == ([], True)
    assert not set(run.arrays) & set(details.arrays)
    both = {**run.arrays, **details.arrays}
    assert set(both) == set(whole.arrays)
    for name, array in both.items():
        np.testing.assert_array_equal(array, whole.arrays[name], strict=True)
    assert {**run.header, "levels": details.header["levels"], "details_follow": False} == whole.header
    untraced = details_bundle(dataclasses.replace(prediction, trace=None))
    assert untraced.header["levels"] == []
    assert set(untraced.arrays) < set(details.arrays)


def test_a_bundle_scores_the_maps_against_the_ablations(predictor, pair, prediction):
    ablated = {drop: predictor(*pair, trace=False, drop=drop) for drop in ("x", "rgb")}
    found = make_bundle(pair[0], prediction, ablated=ablated)
    expected = image_scores(prediction, Inspection(prediction), ablated)
    for drop in ("x", "rgb"):
        scores = found.header["faithfulness"][drop]
        assert set(scores) >= {"reliance", "disagreement", "indecision", "balance", "entropy", "prompt_x"}
        assert scores == {name: score.to_dict() for name, score in expected[drop].items()}
        assert all(value is None or 0 <= value <= 1 for one in scores.values() for value in one.values())
        stored = found.arrays[f"reliance.{drop}"] / bundles.THOUSANDTHS
        np.testing.assert_allclose(stored, reliance(prediction, drop), atol=5e-4 + 1e-6)
    unchanged = make_bundle(pair[0], prediction, ablated={"x": prediction}).header["faithfulness"]
    assert unchanged["x"]["balance"] == {"auroc": None, "within_margin": None}
    assert "faithfulness" not in make_bundle(pair[0], prediction).header


def test_without_x_no_map_is_scored(predictor, pair):
    prediction = predictor(pair[0], None)
    found = make_bundle(pair[0], prediction, ablated={"rgb": prediction})
    assert found.header["faithfulness"] == {}
    assert "reliance.x" not in found.arrays


def test_a_bundle_names_the_camera_of_depth(monkeypatch, predictor, pair, prediction):
    assumed = make_bundle(pair[0], prediction).header["camera"]
    assert assumed == {**XOptions().camera((120, 160)).to_dict(), "is_assumed": True}
    given = predictor(*pair, trace=False, options=XOptions(intrinsics=(140, 150, 70, 60)))
    monkeypatch.setattr(bundles, "MAX_PIXELS", 60 * 80)
    camera = make_bundle(pair[0], given).header["camera"]
    assert camera == {
        **{"fx": 70, "fy": 75, "cx": 34.75, "cy": 29.75, "width": 80, "height": 60},
        "is_assumed": False,
    }
    assert make_bundle(pair[0], predictor(pair[0], None, trace=False)).header["camera"] is None


def test_a_large_image_is_stored_smaller(monkeypatch, pair, prediction):
    monkeypatch.setattr(bundles, "MAX_PIXELS", 60 * 80)
    found = make_bundle(pair[0], prediction)
    assert found.header["stored_size"] == {"height": 60, "width": 80}
    assert found.header["size"] == {"height": 120, "width": 160}
    assert found.arrays["rgb"].shape == (60, 80, 3)
    assert found.arrays["labels.fused"].shape == (60, 80)


def test_without_a_trace_there_are_no_levels(pair, prediction):
    found = make_bundle(pair[0], dataclasses.replace(prediction, trace=None))
    assert found.header["levels"] == []
    assert "query.0" not in found.arrays


@pytest.mark.parametrize("data", [b"", b"no bundle", b"\x08" + bytes(15)])
def test_other_files_are_refused(data):
    with pytest.raises(ValueError, match="not a bundle"):
        read_bundle(data)


def test_another_format_is_refused(monkeypatch, pair, prediction):
    monkeypatch.setattr(bundles, "FORMAT", 0)
    data = make_bundle(pair[0], prediction).to_bytes()
    monkeypatch.undo()
    with pytest.raises(ValueError, match="not a bundle of format 1, but of 0"):
        read_bundle(data)


def test_an_image_of_another_size_is_refused(pair, prediction):
    with pytest.raises(ValueError, match=r"rgb has \(10, 10\)"):
        make_bundle(pair[0][:10, :10], prediction)


# ---- the viewer, in the downloaded report

VIEW = """([level, cell, head]) => {
  const view = document.getElementById("ktb-viewer").ktbViewer.levels[level].view(cell, head);
  return {attention: Array.from(view.attention), points: view.points, balance: view.balance,
    weights: view.points.map((_, index) => view.weightX(index)), entropy: view.entropy,
    effective: view.effective, share: view.sparseShare};
}"""
SHARES = """([level, cell]) => document.getElementById("ktb-viewer").ktbViewer.levels[level].shares(cell)"""
MAPS = """([level, head, names]) => {
  const viewer = document.getElementById("ktb-viewer").ktbViewer;
  viewer.set({ level, head });
  return names.map((name) => Array.from(viewer.mapValues(name).values));
}"""


@pytest.fixture
def opened(browser, tmp_path):
    """A function (rgb, prediction, ablated) → a tab with the report's viewer."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})

    def show(rgb, prediction, ablated=None):
        file = tmp_path / "report.html"
        file.write_text(report_html(rgb, prediction, ablated=ablated), encoding="utf-8")
        tab = context.new_page()
        tab.asked, tab.errors = [], []
        tab.on("pageerror", lambda error: tab.errors.append(error))
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.goto(file.as_uri())
        tab.wait_for_selector("#ktb-viewer canvas")  # the report's policy forbids functions of a text
        return tab

    yield show
    context.close()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_viewer_equals_python(opened, predictor, name):
    step = EXAMPLES[name]
    photo = np.asarray(Image.open(f"assets/examples/{name}_rgb.png").convert("RGB"))
    rgb = np.ascontiguousarray(photo[::step, ::step])
    depth = read_x(f"assets/examples/{name}_depth.png")
    depth = dataclasses.replace(depth, data=depth.data[::step, ::step])
    sized = Predictor(predictor.model, short_side=predictor.short_side // step)
    prediction = sized(rgb, depth)
    inspection, tab = Inspection(prediction), opened(rgb, prediction)
    for level, maps in enumerate(inspection.all_maps()):
        heads = maps.head_balance.shape[0]
        for place, at in enumerate(CELLS):
            for head in (None, *range(place, heads, len(CELLS))):
                expected = inspection.pixel(level, at, head)
                view = tab.evaluate(VIEW, [level, expected.position, head])
                for found, wanted in (
                    (view["attention"], expected.attention),
                    (view["points"], expected.points),
                    (view["weights"], expected.weight_x),
                    (view["balance"], expected.balance),
                    (view["entropy"], expected.entropy),
                    (view["share"], expected.sparse_share),
                ):
                    np.testing.assert_allclose(found, wanted, atol=1e-3)
                assert view["effective"] == pytest.approx(expected.effective_points, rel=5e-3)
            shares = inspection.shares(at)[level]
            found = tab.evaluate(SHARES, [level, expected.position])
            np.testing.assert_allclose(
                [found[part] for part in ("rgb", "x", "context", "residual")],
                dataclasses.astuple(shares),
                atol=1e-3,
            )
        for head in (None, heads - 1):
            wanted = {
                "balance": maps.balance if head is None else maps.head_balance[head],
                "entropy": maps.entropy.mean(axis=0) if head is None else maps.entropy[head],
                "sparse_share": maps.sparse_share,
                "importance_map": maps.importance_map,
                "density_map": maps.density_map,
                "prompt_rgb": maps.prompt_rgb,
                "prompt_x": maps.prompt_x,
            }
            found = tab.evaluate(MAPS, [level, head, list(wanted)])
            for values, expected_map in zip(found, wanted.values()):
                np.testing.assert_allclose(values, expected_map.ravel(), atol=1e-3)
    assert tab.errors == []


def test_a_click_shows_the_pixel_and_asks_nobody(opened, pair, prediction, ablated):
    tab = opened(pair[0], prediction, ablated)
    asked = len(tab.asked)
    box = tab.locator("canvas[data-pane=x]").bounding_box()
    at = (0.303, 0.603)  # (y, x) of the canvas, which has the image's proportions
    tab.mouse.move(box["x"] + at[1] * box["width"], box["y"] + at[0] * box["height"])
    row, column = int(at[0] * 120), int(at[1] * 160)
    names = prediction.classes
    status = tab.inner_text(".ktb-v-status")
    assert f"x {column}, y {row}" in status
    assert names[prediction.labels["fused"][row, column]] in status
    tab.mouse.down()
    tab.mouse.up()
    headline = tab.inner_text(".ktb-v-headline")
    before = names[prediction.labels["fused"][row, column]]
    after = {drop: names[other.labels["fused"][row, column]] for drop, other in ablated.items()}
    said = [f"Without {sensor} this pixel {'stays' if after[drop] == before else 'becomes'} {after[drop]}."
            for drop, sensor in (("x", "X"), ("rgb", "RGB"))]  # fmt: skip
    if set(after.values()) == {before}:
        said = [f"Either sensor alone keeps this pixel {before}."]
    assert headline == " ".join(said)
    first = tab.get_attribute(".ktb-v-points tr[data-point]", "data-attention")
    expected = Inspection(prediction).pixel(3, ((row + 0.5) / 120, (column + 0.5) / 160))
    assert float(first) == pytest.approx(expected.attention.max(), abs=1e-3)
    tab.keyboard.press("ArrowRight")
    tab.focus("canvas[data-pane=rgb]")
    tab.keyboard.press("f")
    assert tab.inner_text("figcaption >> nth=0").startswith("X:")
    tab.keyboard.press("Escape")
    assert "Click any pixel" in tab.inner_text(".ktb-v-headline")
    assert len(tab.asked) == asked
    assert tab.errors == []


def test_without_x_the_viewer_says_nothing_about_it(opened, predictor, pair):
    prediction = predictor(pair[0], None)
    tab = opened(pair[0], prediction)
    tab.click("canvas[data-pane=rgb]", position={"x": 200, "y": 100})
    assert "There was no X" in tab.inner_text(".ktb-v-card")
    assert "reads X" not in tab.inner_text(".ktb-v-card")
    assert tab.get_attribute(".ktb-v-share[data-level='3']", "data-x") == "0"
    values = (
        tab.locator("#ktb-viewer select").first.locator("option").evaluate_all("all => all.map(o => o.value)")
    )
    assert "map.sparse_share" in values
    assert not {"map.balance", "map.prompt_x"} & set(values)


def test_zoom_keeps_the_pixel_under_the_pointer_in_both_images(opened, pair, prediction):
    tab = opened(pair[0], prediction)
    box = tab.locator("canvas[data-pane=rgb]").bounding_box()
    x, y = box["x"] + 0.703 * box["width"], box["y"] + 0.403 * box["height"]
    tab.mouse.move(x, y)
    before = tab.inner_text(".ktb-v-status")
    for _ in range(5):
        tab.mouse.wheel(0, -200)
    for _ in range(100):
        if tab.evaluate("document.getElementById('ktb-viewer').ktbViewer.panes.zoom") > 3:
            break
        tab.wait_for_timeout(50)
    tab.mouse.move(x + 0.5, y)
    assert tab.inner_text(".ktb-v-status").split(" · ")[0] == before.split(" · ")[0]
    other = tab.locator("canvas[data-pane=x]").bounding_box()
    tab.mouse.move(other["x"] + 0.703 * other["width"] + 0.5, other["y"] + 0.403 * other["height"])
    assert tab.inner_text(".ktb-v-status").split(" · ")[0] == before.split(" · ")[0]
