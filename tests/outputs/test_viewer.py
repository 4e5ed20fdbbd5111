"""The viewer in a browser, given bundles: it draws what Python computes and shows texts as texts."""

from __future__ import annotations

import base64
import dataclasses

import numpy as np
import pytest
import torch
from helpers.inspections import POINTS, assert_as_trace, click_image
from helpers.models import stirred
from helpers.page.browsing import VIEWER, show_layer
from PIL import Image

from ktb import Predictor
from ktb.analysis import Inspection
from ktb.analysis.attribution import attribute_prediction
from ktb.analysis.color_range import map_scale, map_values, signed_scale
from ktb.analysis.comparison import VERDICTS, sensor_need
from ktb.analysis.targets import target_at
from ktb.analysis.types import place_in_image
from ktb.modeling.build import build_model, lite_config
from ktb.outputs.bundle import ablation_bundle, layers_bundle, make_bundle
from ktb.outputs.layers import HEADS_DIFFER, NOT_DRAWN, RESTS_ON, Layer, attribution_layer
from ktb.utils.text import percent
from ktb.visualize import NO_VALUE_RGB, scalar_to_colors

pytestmark = pytest.mark.usefixtures("one_thread")

HOSTILE = '<img src=x onerror="window.hit=1">'
TEXT = "(data) => btoa(Array.from(data, (value) => String.fromCharCode(value)).join(''))"
PIXELS = f"""(canvas) => {{ const {{ width, height }} = canvas;
  return [height, width, ({TEXT})(canvas.getContext('2d').getImageData(0, 0, width, height).data)]; }}"""
LAYER = f"""([id, sensor]) => ({PIXELS})({VIEWER}.canvasOf({VIEWER}.layers.get(id), sensor))"""
VEIL = f"() => {VIEWER}.veil && ({PIXELS})({VIEWER}.veil)"
PANE = f"name => ({PIXELS})(document.querySelector(`[data-pane=${{name}}]`))"
SEEN = f"""(name) => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {{
  const viewer = {VIEWER}, {{ canvas }} = viewer.panes.panes.find((one) => one.canvas.dataset.pane === name);
  const {{ scale, left, top }} = viewer.panes.frame(canvas), [height, width] = viewer.size, found = [];
  const {{ data }} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < height * width; i += 1) {{
    const y = Math.floor(top + (Math.floor(i / width) + 0.5) * scale);
    const at = 4 * (y * canvas.width + Math.floor(left + (i % width + 0.5) * scale));
    found.push(...data.subarray(at, at + 4));
  }}
  done([height, width, ({TEXT})(found)]);
}})))"""
"""The colour that a pane shows at the middle of each pixel of the image."""


@pytest.fixture(scope="module")
def bundle(pair, prediction, ablated):
    return make_bundle(pair[0], prediction, ablated=ablated)


def rgba(found) -> np.ndarray:
    height, width, data = found
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)


def drawn(tab, layer: str, sensor: str = "rgb") -> np.ndarray:
    """What a layer draws, (h, w, 3); all of it must be opaque."""
    found = rgba(tab.evaluate(LAYER, [layer, sensor]))
    assert (found[..., 3] == 255).all(), layer
    return found[..., :3]


def seen(tab, pane: str = "rgb") -> np.ndarray:
    """The colours of a pane at the image's pixels, (120, 160, 3)."""
    return rgba(tab.evaluate(SEEN, pane))[..., :3]


def state(tab):
    return tab.evaluate(f"{VIEWER}.state")


def test_masks_and_categories_have_the_colours_of_python(viewed, bundle, prediction, ablated):
    tab = viewed(bundle)
    for branch in ("fused", "rgb", "x"):
        assert np.array_equal(drawn(tab, f"labels.{branch}"), prediction.colors(branch))
    for drop, other in ablated.items():
        assert np.array_equal(drawn(tab, f"labels.without_{drop}"), other.colors())
    kinds = np.array([entry.color for entry in HEADS_DIFFER], np.uint8)
    assert np.array_equal(drawn(tab, "layer.heads_differ"), kinds[bundle.arrays["layer.heads_differ"]])
    need = sensor_need(prediction, ablated["x"], ablated["rgb"])
    verdicts = np.array([RESTS_ON[verdict].color for verdict in VERDICTS], np.uint8)
    assert np.array_equal(drawn(tab, "layer.rests_on"), verdicts[need.verdict])
    show_layer(tab, overlay="layer.rests_on")
    for verdict in VERDICTS:  # the legend has the share of each
        entry = tab.locator(".ktb-v-entry", has_text=RESTS_ON[verdict].name).first
        assert float(entry.inner_text().split()[-2].strip("<")) == pytest.approx(
            100 * need.shares[verdict], abs=0.5
        )


def test_confidence_and_attribution_have_the_colours_of_python(viewed, bundle, predictor, pair, prediction):
    tab = viewed(bundle)
    for name in ("confidence.fused", "margin.fused"):
        wanted = scalar_to_colors(bundle.arrays[name] / 1000, 0, 1, "sequential")
        assert np.abs(drawn(tab, name) - wanted.astype(int)).max() <= 4  # halves are rounded differently
    target = target_at(prediction.labels["fused"], (60, 80), "region")
    found = attribute_prediction(predictor, pair[0], prediction.x, target)
    tab.add(layers_bundle([attribution_layer(found)], (120, 160), show={"overlay": "layer.attribution"}))
    scale = signed_scale([found.rgb, found.x])
    for sensor in ("rgb", "x"):
        values = getattr(found, sensor)
        image = rgba(tab.evaluate(LAYER, ["layer.attribution", sensor]))
        strong = np.abs(values) > 0.5 * scale.high  # weak values show the image below
        assert np.abs(image[..., :3] - scale.colors(values).astype(int))[strong].max() <= 8
        assert image[..., 3][strong].min() > image[..., 3][np.abs(values) < 0.1 * scale.high].max()
    show_layer(tab, overlay="layer.attribution")
    beyond = max(scale.beyond(values) for values in (found.rgb, found.x))
    said = tab.inner_text(".ktb-v-legend").replace("\xa0", " ")
    assert f"{percent(beyond)} of this map's values lie beyond" in said


def test_every_map_is_drawn_position_by_position_and_says_what_lies_beyond(viewed, bundle):
    tab = viewed(bundle)
    maps = [name for name in tab.evaluate(f"[...{VIEWER}.layers.keys()]") if name.startswith("map.")]
    assert {"map.balance", "map.entropy", "map.sparse_share", "map.importance_map", "map.prompt_x"} <= set(
        maps
    )
    for name in maps:
        show_layer(tab, overlay=name, level=1)
        assert drawn(tab, name).shape[:2] == tuple(bundle.header["levels"][1]["grid"])
        assert "of this map" in tab.inner_text(".ktb-v-legend")


@pytest.mark.parametrize("head", [None, 1])
def test_maps_have_the_colours_of_report_and_figure(viewed, bundle, prediction, head):
    tab, levels = viewed(bundle), Inspection(prediction).all_maps()
    kinds = {"importance_map": "importance", "density_map": "density", "sparse_share": "share"}
    for name in ("balance", "entropy", "prompt_rgb", "prompt_x", *kinds):
        kind = kinds.get(name, name)
        scale = map_scale(kind, levels, head)
        for level in (0, 3):
            show_layer(tab, overlay=f"map.{name}", level=level, head=head)
            wanted = scale.colors(map_values(levels[level], kind, head)).astype(int)
            assert np.abs(drawn(tab, f"map.{name}") - wanted).max() <= 6, (name, level)


def test_a_flat_balance_looks_flat_and_sides_have_their_colours(viewed, bundle):
    shape = bundle.arrays["balance.3"].shape
    flat = 0.5 + np.linspace(-0.01, 0.01, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    sides = np.zeros(shape, np.float32)
    sides[:, shape[1] // 2 :] = 1
    for values in (flat, sides):
        even = {
            f"balance.{level}": np.full_like(bundle.arrays[f"balance.{level}"], 0.5) for level in range(3)
        }
        arrays = {**bundle.arrays, **even, "balance.3": values}
        tab = viewed(dataclasses.replace(bundle, arrays=arrays))
        show_layer(tab, overlay="map.balance", level=3)
        colors = drawn(tab, "map.balance").astype(int)
        if values is flat:
            assert np.ptp(colors.reshape(-1, 3), axis=0).max() < 60  # of 200 from end to end
    assert colors[0, 0, 2] > colors[0, 0, 0] + 50  # 0: RGB, blue
    assert colors[0, -1, 0] > colors[0, -1, 2] + 50  # 1: X, orange


def test_two_layers_meet_at_the_split(viewed, bundle, prediction, ablated):
    tab = viewed(bundle)
    show_layer(tab, pixel=None, opacity=1)
    assert np.array_equal(seen(tab), prediction.colors("fused"))
    tab.get_by_label("Compare with", exact=True).select_option("labels.without_x")
    tab.get_by_label("Split", exact=True).fill("0.25")
    for pane in ("rgb", "x"):
        found = seen(tab, pane)
        assert np.array_equal(found[:, :38], prediction.colors("fused")[:, :38])
        assert np.array_equal(found[:, 42:], ablated["x"].colors()[:, 42:])
    tab.get_by_label("Overlay", exact=True).select_option("none")
    show_layer(tab, compare="none")
    assert np.array_equal(seen(tab), bundle.arrays["rgb"])
    assert np.array_equal(seen(tab, "x"), bundle.arrays["x"])
    assert not tab.get_by_label("Split", exact=True).is_visible()


def test_opacity_mixes_the_layer_with_the_image(viewed, bundle, prediction):
    tab = viewed(bundle)
    show_layer(tab, pixel=None)
    tab.get_by_label("Opacity", exact=True).fill("0.25")
    mixed = 0.25 * prediction.colors("fused") + 0.75 * bundle.arrays["rgb"]
    assert np.abs(seen(tab) - mixed).max() <= 2


def test_x_is_grey_under_a_layer_unless_its_colours_are_chosen(viewed, bundle, pair):
    tab = viewed(bundle)
    show_layer(tab, pixel=None, opacity=0.001)
    grey = seen(tab, "x").astype(float)
    assert np.ptp(grey, axis=-1).max() <= 1
    colors = bundle.arrays["x"]
    near, far = (np.argwhere(pair[1] == extreme(pair[1][pair[1] > 0]))[0] for extreme in (np.min, np.max))
    assert grey[tuple(near)].mean() > grey[tuple(far)].mean() + 100  # bright where near, as the colours
    button = tab.get_by_role("button", name="False colours")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert np.abs(seen(tab, "x").astype(float) - colors).max() <= 1
    button.click()
    show_layer(tab, overlay="none")
    assert np.ptp(seen(tab, "x"), axis=-1).max() == 0  # grey was chosen
    show_layer(tab, hasFalseColors=None)
    assert np.array_equal(seen(tab, "x"), colors)
    show_layer(tab, overlay="labels.fused", opacity=0)
    assert np.array_equal(seen(tab, "x"), colors)


def test_the_range_of_x_is_chosen_and_given_back(viewed, bundle):
    tab = viewed(bundle)
    show_layer(tab, pixel=None, overlay="none")
    before = seen(tab, "x")
    tab.get_by_text("Range", exact=True).click()
    tab.get_by_label("Dark", exact=True).fill("0.25")
    values = bundle.arrays["x_values"]
    dark, bright = tab.evaluate(f"{VIEWER}.state.xRange")
    assert bright == pytest.approx(bundle.header["x_range"][1])
    low, high = np.nanquantile(values, [0.002, 0.998])
    assert dark == pytest.approx(low + 0.25 * (high - low), rel=0.02)
    assert np.abs(seen(tab, "x").astype(int) - scalar_to_colors(values, dark, bright)).max() <= 2
    assert f"{dark:.3f} m … {bright:.3f} m" in tab.text_content(".ktb-v-range")
    show_layer(tab, overlay="labels.fused", opacity=0.001)
    assert np.ptp(seen(tab, "x").astype(int), axis=-1).max() <= 1  # grey under a layer, in the same range
    tab.get_by_role("button", name="As it came").click()
    show_layer(tab, overlay="none")
    assert np.array_equal(seen(tab, "x"), before)


def test_holes_of_x_are_a_pattern_in_grey_and_a_grey_x_stays(viewed, pair, prediction):
    bundle = make_bundle(pair[0], prediction)
    x = np.full((120, 160, 3), (31, 92, 158), np.uint8)
    x[:, :80] = NO_VALUE_RGB
    tab = viewed(dataclasses.replace(bundle, arrays={**bundle.arrays, "x": x}))
    show_layer(tab, pixel=None, hasFalseColors=False, overlay="none")
    found = seen(tab, "x")[..., 0]
    assert set(np.unique(found[:, :78])) == {105, 150}
    assert len(np.unique(found[:, 82:])) == 1
    grey = np.repeat(x[..., :1], 3, axis=2)
    tab = viewed(dataclasses.replace(bundle, arrays={**bundle.arrays, "x": grey}))
    show_layer(tab, pixel=None, opacity=0)
    assert np.array_equal(seen(tab, "x"), grey)
    assert not tab.get_by_role("button", name="False colours").is_visible()


def test_the_list_of_points_is_folded_and_stays_as_it_was_left(viewed, bundle):
    tab = viewed(bundle)
    assert not tab.locator(POINTS).first.is_visible()
    tab.locator("summary", has_text="strongest").click()
    assert tab.locator(POINTS).first.is_visible()
    show_layer(tab, pixel=[5, 5])
    assert tab.locator(POINTS).first.is_visible()


@pytest.mark.parametrize(
    ("assumed", "confidence", "said"),
    [
        (True, "guess", "Camera assumed: field of view 90°. Unit guessed: millimetres."),
        (False, "certain", "Camera given: field of view 90°. Drag"),
    ],
)
def test_points_in_space_say_what_is_assumed(viewed, bundle, assumed, confidence, said):
    camera = {"fx": 80, "fy": 80, "cx": 79.5, "cy": 59.5, "width": 160, "height": 120, "is_assumed": assumed}
    depth = {"unit": "millimetres", "confidence": confidence}
    tab = viewed(dataclasses.replace(bundle, header={**bundle.header, "camera": camera, "depth": depth}))
    assert said in tab.locator(".ktb-v-space figcaption").text_content()


def veiled(tab) -> np.ndarray | None:
    """Where the veil lies; None without one."""
    found = tab.evaluate(VEIL)
    return None if found is None else rgba(found)[..., 3] > 0


def test_a_class_stands_out_by_pointer_and_keyboard(viewed, bundle, prediction):
    tab, labels = viewed(bundle), prediction.labels["fused"]
    rows = prediction.class_table()
    for row in rows:
        text = tab.text_content(f".ktb-v-classes [data-class='{row.index}']")
        assert text.startswith(row.name)
    first, second = (tab.locator(f".ktb-v-classes [data-class='{row.index}']") for row in rows[:2])
    first.hover()
    assert np.array_equal(veiled(tab), labels != rows[0].index)
    tab.mouse.move(2, 2)
    assert veiled(tab) is None
    second.focus()
    assert np.array_equal(veiled(tab), labels != rows[1].index)
    tab.keyboard.press("Enter")
    assert second.get_attribute("aria-pressed") == "true"
    first.hover()
    tab.mouse.move(2, 2)
    assert np.array_equal(veiled(tab), labels != rows[1].index)  # what is pressed stays
    tab.keyboard.press("Escape")
    assert second.get_attribute("aria-pressed") == "false"
    assert veiled(tab) is None


def test_a_class_that_stands_out_stays_when_ablations_come_and_goes_with_its_mask(
    viewed, pair, prediction, ablated
):
    tab = viewed(make_bundle(pair[0], prediction))
    row = prediction.class_table()[0]
    entry = tab.locator(f".ktb-v-classes [data-class='{row.index}']")
    entry.focus()
    tab.keyboard.press("Enter")
    tab.add(ablation_bundle(prediction, ablated))
    assert entry.get_attribute("aria-pressed") == "true"
    assert np.array_equal(veiled(tab), prediction.labels["fused"] != row.index)
    show_layer(tab, overlay="labels.x")
    assert tab.locator(".ktb-v-classes [aria-pressed=true]").count() == 0
    assert veiled(tab) is None


def test_switches_show_the_mask_without_a_sensor(viewed, pair, prediction, ablated):
    tab = viewed(make_bundle(pair[0], prediction), ["measure"])
    sensors = tab.locator(".ktb-v-sensors")
    assert not sensors.is_visible()
    tab.get_by_role("button", name="Switch each sensor off").click()
    assert tab.evaluate("asked.map(([name]) => name)") == ["ktb-measure"]
    tab.add(ablation_bundle(prediction, ablated))
    assert not tab.get_by_role("button", name="Switch each sensor off").is_visible()
    x, rgb = sensors.get_by_label("X", exact=True), sensors.get_by_label("RGB", exact=True)
    x.uncheck()
    assert state(tab)["overlay"] == "labels.without_x"
    rgb.uncheck()  # the network needs one
    assert state(tab)["overlay"] == "labels.without_rgb"
    assert x.is_checked()
    rgb.check()
    assert state(tab)["overlay"] == "labels.fused"


def test_the_chosen_pixel_follows_clicks_keys_levels_and_heads(viewed, bundle, prediction):
    tab = viewed(bundle, ["ask"])
    click_image(tab, 0.303, 0.603)
    assert state(tab)["pixel"] == [36, 96]
    assert_as_trace(tab, prediction)
    row = tab.locator(".ktb-v-card [data-branch=rgb]").inner_text()
    assert prediction.classes[prediction.labels["rgb"][36, 96]] in row
    tab.get_by_label("Level", exact=True).select_option("1")
    tab.get_by_label("Attention head", exact=True).select_option("2")
    assert state(tab)["pixel"] == [36, 96]
    assert_as_trace(tab, prediction)
    tab.focus("canvas[data-pane=x]")
    tab.keyboard.press("ArrowRight")
    stride = bundle.header["levels"][1]["stride"]
    assert state(tab)["pixel"] == [36, 96 + stride]
    assert_as_trace(tab, prediction)
    tab.get_by_label("Ask about").select_option("region")
    tab.get_by_role("button", name="What did it react to?").click()
    place, detail = tab.evaluate("asked.at(-1)")
    assert (place, detail["about"], detail["pixel"]) == ("ktb-ask", "region", [36, 96 + stride])
    assert detail["at"] == pytest.approx([36.5 / 120, (96.5 + stride) / 160])


def test_a_drag_moves_the_images_and_chooses_no_pixel(viewed, bundle):
    tab = viewed(bundle)
    tab.evaluate(f"{VIEWER}.panes.zoomBy(4)")
    before, centre = state(tab)["pixel"], tab.evaluate(f"{VIEWER}.panes.centre")
    box = tab.locator("canvas[data-pane=rgb]").bounding_box()
    tab.mouse.move(box["x"] + 200, box["y"] + 150)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 150, box["y"] + 120, steps=3)
    tab.mouse.up()
    assert state(tab)["pixel"] == before
    moved = tab.evaluate(f"{VIEWER}.panes.centre")
    assert moved[0] > centre[0]
    assert moved[1] > centre[1]
    tab.get_by_role("button", name="Fit", exact=True).click()
    assert tab.evaluate(f"{VIEWER}.panes.zoom") == 1


def test_marks_lie_at_the_points_and_their_area_is_their_attention(viewed, bundle, prediction):
    tab = viewed(bundle)
    show_layer(tab, pixel=[60, 80], level=2, head=0)
    marks = tab.evaluate(f"{VIEWER}.panes.marks.toReversed()")
    view = Inspection(prediction).pixel(2, (60.5 / 120, 80.5 / 160), 0)
    order = np.argsort(-view.attention, kind="stable")[: len(marks)]
    places = place_in_image(view.points[order], view.grid_hw) * (120, 160) - 0.5
    np.testing.assert_allclose([mark["pixel"] for mark in marks], places, atol=0.1)
    areas = np.array([mark["strength"] for mark in marks]) ** 2
    np.testing.assert_allclose(areas, view.attention[order] / view.attention.max(), atol=5e-3)
    assert [mark["isSquare"] for mark in marks] == view.x_led[order].tolist()
    assert tab.locator(POINTS).count() == 15
    count = len(view.attention)
    assert f"The 15 strongest of the {count} points" in tab.inner_text(".ktb-v-card summary")
    assert f"of its {count} points" in tab.inner_text(".ktb-v-card [data-effective]")
    show_layer(tab, level=3, head=None)
    groups = bundle.header["levels"][3]["groups"]
    assert f"points of each of {groups} groups" in tab.inner_text(".ktb-v-card summary")


def test_uniform_attention_is_called_uniform(viewed, bundle):
    flat = {name: np.zeros_like(bundle.arrays[name]) for name in ("query.3", "bias_table.3")}
    for arrays, said in ((bundle.arrays, False), ({**bundle.arrays, **flat}, True)):
        tab = viewed(dataclasses.replace(bundle, arrays=arrays))
        show_layer(tab, level=3)
        assert ("its points carry no information" in tab.inner_text(".ktb-v-card")) == said


def test_a_pixel_that_an_ablation_changes_is_chosen_at_first(viewed, pair, prediction):
    fused = prediction.labels["fused"]
    changed = fused.copy()
    changed[40:70, 50:90] = (fused[40:70, 50:90] + 1) % 40
    for labels, box in ((changed, (40, 70, 50, 90)), (fused, (60, 61, 80, 81))):
        without = dataclasses.replace(prediction, labels={**prediction.labels, "fused": labels})
        tab = viewed(make_bundle(pair[0], prediction, ablated={"x": without, "rgb": prediction}))
        row, column = state(tab)["pixel"]
        assert box[0] <= row < box[1]
        assert box[2] <= column < box[3]


def test_the_saved_image_shows_both_panes_and_names_its_checkpoint(viewed, bundle):
    tab = viewed(bundle)
    tab.evaluate("() => new Promise(requestAnimationFrame)")
    first, second = (rgba(tab.evaluate(PANE, name))[..., :3] for name in ("rgb", "x"))
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name="PNG").click()
    assert waiting.value.suggested_filename == "ktb-lite-nyuv2-depth-view.png"
    found = np.asarray(Image.open(waiting.value.path()).convert("RGB"))
    height, width = first.shape[:2]
    assert found.shape[1] == width + second.shape[1] + 8
    assert np.array_equal(found[:height, :width], first)
    assert np.array_equal(found[:height, width + 8 :], second)
    assert (found[height:].min(axis=-1) < 128).any()  # the lines below


def test_names_and_warnings_are_shown_as_text_only(viewed, bundle, prediction):
    header = {
        **bundle.header, "classes": [HOSTILE] * 40, "model": HOSTILE, "ribbon": f"ribbon {HOSTILE}",
        "warnings": [f"first {HOSTILE}", f"second {HOSTILE}"],
        "x": {**bundle.header["x"], "modality": HOSTILE},
        "heads": dict.fromkeys(bundle.header["heads"], HOSTILE),
        "attribution": {"pixel": [60, 80], "title": HOSTILE, "sentences": [HOSTILE]},
    }  # fmt: skip
    tab = viewed(dataclasses.replace(bundle, header=header), ["ask", "measure"])
    own = {"classes": [HOSTILE] * 40, "palette": prediction.palette}
    layer = Layer(HOSTILE, HOSTILE, HOSTILE, "labels", prediction.labels["x"], HOSTILE, **own)
    tab.add(layers_bundle([layer], (120, 160)))
    show_layer(tab, pixel=[60, 80], overlay=f"layer.{HOSTILE}")
    tab.hover("canvas[data-pane=rgb]")
    assert tab.locator(".ktb-v img").count() == 0
    assert tab.evaluate("window.hit") is None
    doubts = tab.locator(".ktb-v-doubts")
    assert doubts.locator(".ktb-v-ribbon").text_content() == f"ribbon {HOSTILE}"
    assert doubts.locator("summary").inner_text() == "2 warnings about this run"
    assert doubts.locator("details p").all_text_contents() == header["warnings"]
    for place in (".ktb-v-card", ".ktb-v-status", ".ktb-v-classes", ".ktb-v-legend", "figcaption >> nth=1"):
        assert HOSTILE in tab.text_content(place), place
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name="PNG").click()
    assert not set(waiting.value.suggested_filename) & set('/\\<>"')


def test_a_single_warning_is_not_folded(viewed, bundle):
    header = {**bundle.header, "warnings": ["only one"], "ribbon": ""}
    tab = viewed(dataclasses.replace(bundle, header=header))
    assert tab.locator(".ktb-v-doubts > p").all_text_contents() == ["only one"]


def test_the_warning_of_the_ribbon_is_said_once(viewed, bundle):
    said = {"warnings": ["Outside training: so. Unreliable.", "other"], "ribbon": "outside training: so"}
    header = {**bundle.header, **said}
    tab = viewed(dataclasses.replace(bundle, header=header))
    assert tab.inner_text(".ktb-v-ribbon") == header["warnings"][0]
    assert tab.locator(".ktb-v-doubts > p").all_text_contents() == header["warnings"]


def test_what_is_not_drawn_is_transparent_and_a_layer_replaces_its_former_self(viewed, bundle, prediction):
    tab = viewed(bundle)
    own = {"classes": [f"other {i}" for i in range(40)], "palette": prediction.palette}
    for values in (np.full((120, 160), NOT_DRAWN), np.eye(120, 160, dtype=int) * 3):
        layer = Layer("other", "Other", "B", "labels", values, "a note", **own)
        tab.add(layers_bundle([layer], (120, 160), show={"overlay": "layer.other"}))
        found = rgba(tab.evaluate(LAYER, ["layer.other", "rgb"]))
        assert np.array_equal(found[..., 3] > 0, values != NOT_DRAWN)
    options = tab.get_by_label("Overlay", exact=True).locator("option[value='layer.other']")
    assert options.count() == 1
    show_layer(tab, overlay="layer.other")
    assert "other 3" in tab.inner_text(".ktb-v-classes")
    assert tab.inner_text(".ktb-v-legend") == "a note"


def test_a_phone_is_told_of_fingers_and_a_desktop_of_keys(viewed, touched, bundle):
    said = []
    for show in (viewed, touched):
        tab = show(bundle, ["region"])
        tab.get_by_role("button", name="Region", exact=True).click()
        said.append(f"{tab.inner_text('.ktb-v-region')} {tab.text_content('.ktb-v-space')}")
        assert tab.eval_on_selector(".ktb-v select", "box => getComputedStyle(box).appearance") == "auto"
    desktop, phone = said
    for words in ("Enter", "wheel", "Shift"):
        assert words in desktop
        assert words not in phone
    assert "with one finger" in phone
    assert "two fingers zoom and shift" in phone
    assert "finger" not in desktop


def test_a_residual_is_a_source_of_its_own(viewed, pair):
    config = lite_config(name="residual")
    config = dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, residual=True))
    torch.manual_seed(0)
    found = Predictor(stirred(build_model(config)).eval(), 64)(*pair)
    tab = viewed(make_bundle(pair[0], found))
    assert "map.residual_share" in tab.evaluate(f"[...{VIEWER}.layers.keys()]")
    for level, shares in enumerate(Inspection(found).shares((60.5 / 120, 80.5 / 160))):
        said = tab.inner_text(f".ktb-v-share[data-level='{level}']").replace("\xa0", " ")
        assert f"{percent(shares.residual, 0)} mean of both" in said
        assert shares.residual > 0


def test_a_fusion_by_a_mean_says_that_there_is_no_attention(viewed, pair, prediction):
    tab = viewed(make_bundle(pair[0], dataclasses.replace(prediction, trace=None)))
    click_image(tab, 0.5, 0.5)
    assert "there is no attention to show" in tab.inner_text(".ktb-v-card")
    assert not [name for name in tab.evaluate(f"[...{VIEWER}.layers.keys()]") if name.startswith("map.")]


def test_without_x_nothing_is_offered_that_speaks_of_it(viewed, predictor, pair):
    tab = viewed(make_bundle(pair[0], predictor(pair[0], None)), ["measure"])
    offered = set(tab.evaluate(f"[...{VIEWER}.layers.keys()]"))
    assert "map.sparse_share" in offered
    assert not {"map.balance", "map.prompt_x"} & offered
    assert not tab.get_by_role("button", name="Switch each sensor off").is_visible()
