"""What the page shows of X and what it lets a visitor correct; pure functions first, then the browser."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import pytest
from helpers.embedded import small_predictor
from helpers.page.api_calls import contents
from helpers.page.browsing import (
    below,
    downloaded,
    new_tab,
    replace_files,
    run,
    shown_array,
    upload,
    wait_for_run,
    watched_tab,
)
from helpers.pairs import synthetic_pair, write_pair
from PIL import Image

from app.html.histogram import histogram_tag, number
from app.panels.footer import footer
from app.panels.x_input import network_picture, small_x_panel, warnings_box, x_panel
from app.results import XView
from app.service import MissingX, Service
from app.widgets.alignment import pointed, preview_html
from app.widgets.rgb_preview import shown_rgb
from app.widgets.x_form import Proposal, XForm, fields_for, numbers, units_of, x_options
from app.widgets.x_input import build_corrections, build_x_input
from ktb.config import InputConfig
from ktb.inputs import AUTO, XOptions, read_image_rgb, read_x
from ktb.inputs.alignment.files import Alignment
from ktb.inputs.histogram import Histogram
from ktb.outputs.bundle import make_bundle

DEPTH, EVENT = "ktb-lite-nyuv2-depth", "ktb-lite-nyuv2-event"
SAID = "#ktb-x-read"


def write_events(folder: Path, count: int = 4000, milliseconds: float = 80.0) -> Path:
    """Events of a 160 x 120 sensor, twice as many in the second half, as .npz."""
    rng = np.random.default_rng(0)
    t = np.sort(np.where(rng.random(count) < 1 / 3, rng.random(count), 1 + rng.random(count)) / 2)
    t = np.rint(1e6 + 1e3 * milliseconds * t).astype(np.int64)
    t[[0, -1]] = 1_000_000, 1_000_000 + 1000 * milliseconds
    path = folder / "events.npz"
    x, y = rng.integers(0, 160, count), rng.integers(0, 120, count)
    x[0], y[0] = 159, 119
    np.savez(path, x=x, y=y, t=t, p=rng.integers(0, 2, count))
    return path


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (XForm(), XOptions()),
        (XForm(unit="mm"), XOptions(unit="mm")),
        (XForm(modality="thermal", unit="mm"), XOptions(modality="thermal")),  # a unit of depth
        (XForm(value_range=" 15; 40.5 "), XOptions(value_range=(15, 40.5))),
        (XForm(sensor="346 x 260"), XOptions(sensor_hw=(260, 346))),
        (XForm(sensor="346×260"), XOptions(sensor_hw=(260, 346))),
        (XForm(intrinsics="500,501,320,240"), XOptions(intrinsics=(500, 501, 320, 240))),
        (XForm(field_of_view="60"), XOptions(field_of_view=60)),
        (XForm(window=(10.0, 30.0)), XOptions(window_ms=(10, 40))),
        (XForm(columns="t x y p", time_unit="us"), XOptions(columns="txyp", time_unit="us")),
    ],
)
def test_fields_become_options(form, said):
    assert x_options(form) == said


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (XForm(value_range="15"), "fixed range '15': give 2 numbers (lowest, highest), or nothing"),
        (XForm(value_range="40 15"), "give the lower number first"),
        (XForm(value_range="a b"), "fixed range 'a b'"),
        (XForm(sensor="346.5 x 260"), "give whole pixels"),
        (XForm(sensor="0 x 0"), "sensor_hw"),
        (XForm(intrinsics="1 2 3"), "give 4 numbers (fx, fy, cx, cy)"),
        (XForm(field_of_view="wide"), "field of view 'wide': give one number (degrees)"),
        (XForm(field_of_view="nan"), "give one number"),
        (XForm(field_of_view="1e999"), "give one number"),
    ],
)
def test_wrong_fields_are_named(form, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        x_options(form)


def test_numbers_take_what_people_type():
    assert numbers("size", "640 x 480", ("width", "height")) == (640, 480)
    assert numbers("size", "  ", ("width", "height")) is None
    assert numbers("size", None, ("width", "height")) is None


def test_units_follow_what_x_is():
    assert {"auto", "mm", "sun"} <= set(units_of("depth"))
    assert units_of("hha") == units_of("depth")
    assert "auto" in units_of("thermal")
    assert "mm" not in units_of("thermal")
    assert units_of("nir") == {}


def view_of(service: Service, x: Path, model: str = DEPTH, options: XOptions = AUTO) -> XView:
    return service.read_x([str(x)], None, model, options)


def test_fields_that_make_no_sense_are_hidden(service, tmp_path):
    _, depth = write_pair(tmp_path)
    inputs = service.inputs(DEPTH)
    fields = fields_for(XForm(), inputs, view_of(service, depth))
    assert "mm" in fields.units
    shown = (fields.is_thermal, fields.needs_camera, fields.is_table, fields.span_ms)
    assert shown == (False, True, False, None)
    as_hha = view_of(service, depth, options=XOptions(modality="hha"))
    assert fields_for(XForm(modality="hha"), inputs, as_hha).needs_camera
    as_thermal = view_of(service, depth, options=XOptions(modality="thermal"))
    warm = fields_for(XForm(modality="thermal"), inputs, as_thermal)
    assert (warm.is_thermal, warm.needs_camera) == (True, False)
    unread = fields_for(XForm(modality="event"), inputs, None)
    assert unread.is_table
    assert unread.span_ms is None


def test_fields_are_told_only_what_changes(service):
    takes = service.inputs(DEPTH)
    with gr.Blocks():
        source, _, files = build_x_input(takes)
        x = build_corrections(source, files, gr.HTML(), takes, AUTO)
    depth, thermal = (fields_for(XForm(modality=kind), takes, None) for kind in ("depth", "thermal"))
    shown: dict = {}
    everything = {x.files, x.corrections, x.unit, x.scale, x.thermal, x.camera, x.stream, x.table}
    assert set(x.updates(depth, True, True, "auto", shown)) == everything
    assert x.updates(depth, True, True, "mm", shown) == {}
    told = x.updates(thermal, True, True, "mm", shown)
    assert set(told) == {x.unit, x.thermal, x.camera}
    assert (told[x.unit]["value"], told[x.thermal]["visible"]) == ("auto", True)  # mm is no temperature
    assert set(x.updates(thermal, True, True, "mm", shown)) == {x.unit}
    assert set(x.updates(thermal, False, False, "auto", shown)) == {x.files, x.corrections}


def test_the_sliders_show_the_stream_and_its_window(service, tmp_path):
    events, inputs = write_events(tmp_path), service.inputs(EVENT)
    view = view_of(service, events, EVENT)
    assert view.span_ms == pytest.approx(80)
    assert fields_for(XForm(), inputs, view).window_ms == pytest.approx((0, 80))
    part = view_of(service, events, EVENT, XOptions(window_ms=(20, 50)))
    assert fields_for(XForm(), inputs, part).window_ms == pytest.approx((20, 30))
    assert part.span_ms == pytest.approx(80)
    beyond = view_of(service, events, EVENT, XOptions(window_ms=(60, 500)))
    assert fields_for(XForm(), inputs, beyond).window_ms == pytest.approx((60, 20))


def test_the_window_shown_is_the_one_that_the_encoder_takes(service, tmp_path, monkeypatch):
    inputs = dataclasses.replace(service.inputs(EVENT), event_window_ms=25.0)
    monkeypatch.setattr(service, "inputs", lambda model: inputs)
    monkeypatch.setattr(service.predictor(EVENT).model, "config", _with_inputs(service, inputs))
    view = view_of(service, write_events(tmp_path), EVENT)
    assert view.window_ms == pytest.approx((55, 80))
    assert view.reading.facts["window"] == "55.0 to 80.0 ms"


def _with_inputs(service: Service, inputs: InputConfig):
    return dataclasses.replace(service.config(EVENT), inputs=inputs)


def bars(tag: str) -> np.ndarray:
    """Heights of the bars in an SVG."""
    path = re.search(r'<path d="([^"]*)"', tag)[1]
    return np.array([130 - float(top) for top in re.findall(r"V([\d.]+)h", path)])


def test_a_histogram_has_its_counts_and_marks_the_window():
    counts = np.array([1, 2, 4, 8])
    tag = histogram_tag(Histogram(counts, np.linspace(0, 40, 5), "ms"), "time", (10, 30))
    assert np.allclose(bars(tag) / 130, counts / 8, atol=1e-3)
    start, width = re.search(r'ktb-window" x="([\d.]+)" y="0" width="([\d.]+)"', tag).groups()
    assert (float(start), float(width)) == (160, 320)  # of 640
    assert "40 ms" in tag
    empty = histogram_tag(Histogram(np.zeros(4, int), np.linspace(0, 1, 5), ""), "none")
    assert bars(empty).size == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (2.236, "2.24"), (1234.5, "1,234"), (-0.5, "-0.5"), (1e-5, "1.00e-05"), (2e7, "2.00e+07")],
)
def test_numbers_read_well(value, text):
    assert number(value) == text


def test_the_panel_shows_facts_warnings_and_what_the_network_gets(service, tmp_path):
    _, depth = write_pair(tmp_path)
    view = view_of(service, depth)
    text = x_panel(view)
    for title, value in view.reading.facts.items():
        assert str(value) in text, title
    source = re.search(r'alt="x as the network sees it"[^>]*base64,([^"]+)"', text)[1]
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(source)))).astype(int)
    assert abs(seen - np.rint(view.reading.image * 255)).mean() < 2  # JPEG
    assert "<svg" in text
    warned = dataclasses.replace(view.reading, warnings=("<b>mind</b>", "mind <b>that</b>"))
    for page_text in (x_panel(dataclasses.replace(view, reading=warned)), small_x_panel(warned)):
        assert "&lt;b&gt;mind" in page_text
        assert page_text.index("ktb-warn") < page_text.index("<img")
    assert warnings_box(()) == ""


def test_angles_are_shown_from_minus_one_to_one(service, tmp_path):
    _, depth = write_pair(tmp_path)
    reading = view_of(service, depth).reading
    image = np.zeros((4, 4, 3), np.float32)
    image[..., 0], image[..., 1] = -1, 1
    angles = dataclasses.replace(reading, image=image, encoding="aolp")
    assert network_picture(angles)[0, 0].tolist() == [0, 255, 128]


def test_no_x_is_said_in_every_panel_and_file(service, tmp_path):
    rgb, depth = write_pair(tmp_path, 64, 96)
    with pytest.raises(MissingX, match=r"X image is missing.*“Run on the RGB image alone”"):
        service.segment(str(rgb), [], DEPTH)
    result = service.segment(str(rgb), [str(depth)], DEPTH, source="none")
    alone = small_predictor(DEPTH)(read_image_rgb(rgb), None)
    assert np.array_equal(result.prediction.labels["fused"], alone.labels["fused"])
    header = make_bundle(result.rgb, result.prediction).header
    assert any("this result comes from the RGB image alone" in text for text in header["warnings"])
    assert header["x"]["origin"] == "missing"
    assert "no X" in footer(result)
    assert "There is no X" in x_panel(result.x)


def test_estimated_depth_is_marked_everywhere(service, tmp_path, monkeypatch):
    rgb, _ = write_pair(tmp_path, 64, 96)
    metres = np.linspace(1, 4, 64 * 96, dtype=np.float32).reshape(64, 96)
    raw = dataclasses.replace(read_x_array(tmp_path, metres), origin="estimated", notes=("ESTIMATED.",))
    monkeypatch.setattr(service, "_estimator", lambda photo: raw)
    result = service.segment(str(rgb), [], DEPTH, XOptions(unit="mm"), source="estimate")
    assert result.x.reading.depth.median == pytest.approx(2.5, abs=0.01)
    shown = " ".join(make_bundle(result.rgb, result.prediction).header["warnings"])
    texts = (shown, footer(result), x_panel(result.x), small_x_panel(result.x.reading))
    assert ["ESTIMATED" in text for text in texts] == [True] * 4
    assert result.x_name == "ESTIMATED depth image"
    with pytest.raises(ValueError, match="x_source 'guess': choose one of file, none, estimate"):
        service.segment(str(rgb), [], DEPTH, source="guess")


def read_x_array(folder: Path, array: np.ndarray):
    np.save(folder / "metres.npy", array)
    return read_x(folder / "metres.npy")


def test_a_rgb_image_that_no_browser_shows_becomes_a_png(tmp_path):
    photo, _ = synthetic_pair()
    for suffix, is_replaced in (("png", False), ("jpg", False), ("webp", False), ("tif", True)):
        path = tmp_path / f"photo.{suffix}"
        Image.fromarray(photo).save(path)
        shown = shown_rgb(str(path), tmp_path)
        assert (shown is not None) == is_replaced, suffix
    assert shown.name == "photo.png"
    assert np.array_equal(read_image_rgb(shown), photo)
    Image.fromarray(np.dstack([photo, photo[..., 0]])).save(tmp_path / "rgbt.png")  # browsers would blend it
    assert np.array_equal(read_image_rgb(shown_rgb(str(tmp_path / "rgbt.png"), tmp_path)), photo)
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0" + bytes(100))
    assert shown_rgb(str(broken), tmp_path) is None


def test_an_alignment_is_only_proposed(service, tmp_path):
    rgb, depth = write_pair(tmp_path)
    shift = Alignment([[1, 0, 6], [0, 1, 0]], name="shift.json")
    found, overlays = service.look_at(str(rgb), [str(depth)], DEPTH, AUTO, shift)
    assert found is shift
    assert overlays.before.shape == overlays.after.shape == (120, 160, 3)
    assert not np.array_equal(overlays.before, overlays.after)
    assert overlays.message == shift.summary
    assert "Nothing is applied yet" in preview_html(overlays)
    assert "Nothing is applied yet" not in preview_html(dataclasses.replace(overlays, after=None))
    beside = Alignment([[1, 0, 5000], [0, 1, 0]])
    with pytest.raises(ValueError, match="beside the RGB image"):
        service.look_at(str(rgb), [str(depth)], DEPTH, AUTO, beside)
    with pytest.raises(ValueError, match="upload the RGB image and its X first"):
        service.look_at(str(rgb), [], DEPTH, AUTO, None)


def test_a_bad_estimate_is_no_proposal(service, tmp_path):
    rgb, _ = write_pair(tmp_path)
    noise = tmp_path / "noise.png"
    cv2.imwrite(str(noise), np.random.default_rng(0).integers(1, 256, (120, 160), dtype=np.uint8))
    found, overlays = service.look_at(str(rgb), [str(noise)], DEPTH, XOptions(modality="nir"), None)
    assert found is None
    assert overlays.after is None
    assert overlays.message


def test_an_applied_alignment_is_in_the_options():
    applied = Proposal(Alignment([[1, 0, 6], [0, 1, 0]]), is_estimate=True)
    assert x_options(XForm(alignment=applied)).matrix[0] == (1, 0, 6)


def test_other_proportions_point_to_the_alignment(service, tmp_path):
    rgb, _ = write_pair(tmp_path)
    (tmp_path / "wide").mkdir()
    wide = write_pair(tmp_path / "wide", 64, 300)[1]
    with pytest.raises(ValueError, match="proportions differ") as caught:
        service.read_x([str(wide)], str(rgb), DEPTH)
    assert "“Alignment of X” below" in pointed(str(caught.value))
    assert pointed("something else") == "something else"


# The page in a real browser.


def choose(tab, field: str, option: str) -> None:
    """Pick an option of a dropdown."""
    tab.click(f"{field} input")
    tab.locator(f"{field} [role=option]", has_text=option).first.click()


def unfold(tab, part: str, content: str) -> None:
    """Open an accordion, which an earlier test may have opened."""
    tab.wait_for_selector(f"{part} > button")
    if not tab.locator(f"{part} > button.open").count():
        tab.click(f"{part} > button")
    tab.wait_for_selector(content)


def open_fields(tab) -> None:
    unfold(tab, "#ktb-fix", "#ktb-modality input")


@pytest.fixture(scope="module")
def opened(context, address):
    """One page for the tests that replace its files and leave its options as they were."""
    with watched_tab(context, address) as tab:
        yield tab


def test_a_corrected_unit_is_read_at_once_and_run_with_exactly_that(opened, address, tmp_path):
    page = opened
    rgb, depth = write_pair(tmp_path)
    replace_files(page, address, rgb, depth)
    page.wait_for_selector(f"{SAID} >> text=millimetres (likely)")
    open_fields(page)
    choose(page, "#ktb-unit", "tenths of a millimetre")
    page.wait_for_selector(f"{SAID} >> text=tenths of a millimetre (certain)")
    unfold(page, "#ktb-x-details", "#ktb-x-panel")
    page.wait_for_selector("#ktb-x-panel .ktb-facts >> text=tenths of a millimetre (certain)")
    assert page.locator("#ktb-x-panel svg path").count() == 1
    run(page)
    wanted = small_predictor(DEPTH)(*synthetic_pair(), options=XOptions(unit="0.1mm"))
    assert np.array_equal(shown_array(page), wanted.labels["fused"])
    page.click("#ktb-reset")
    page.wait_for_selector(f"{SAID} >> text=millimetres (likely)")


def test_another_modality_is_warned_of_before_and_after_the_run(page, tmp_path):
    rgb, depth = write_pair(tmp_path)
    page.click("#ktb-settings button")
    choose(page, "#ktb-model", DEPTH)
    page.wait_for_selector("#ktb-x >> text=its depth image")
    upload(page, rgb, depth)
    page.wait_for_selector(f"{SAID} img")
    open_fields(page)
    choose(page, "#ktb-modality", "thermal")
    page.wait_for_selector(f"{SAID} .ktb-warn >> text=this checkpoint was trained with depth")
    page.fill("#ktb-thermal textarea, #ktb-thermal input[type=text]", "40")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{SAID} .ktb-wrong >> text=give 2 numbers")
    page.click("#ktb-run")
    page.wait_for_selector(".toast-body >> text=give 2 numbers")
    page.fill("#ktb-thermal textarea, #ktb-thermal input[type=text]", "1500, 4000")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{SAID} img")
    run(page)
    assert "trained with depth" in page.text_content(".ktb-v-doubts")


def test_the_window_of_a_stream_is_moved_by_sliders(page, tmp_path):
    rgb, _ = write_pair(tmp_path)
    page.click("#ktb-settings button")
    choose(page, "#ktb-model", EVENT)
    page.wait_for_selector("#ktb-x >> text=event frame")
    upload(page, rgb, write_events(tmp_path))
    page.wait_for_selector(f"{SAID} >> text=4,000 events")
    open_fields(page)
    page.fill("#ktb-length input[type=number]", "20")
    page.press("#ktb-length input[type=number]", "Enter")
    page.click("#ktb-x-details > button")
    page.wait_for_selector("#ktb-x-panel .ktb-facts >> text=0.0 to 20.0 ms")
    box = page.locator("#ktb-x-panel rect.ktb-window")
    assert float(box.get_attribute("width")) == pytest.approx(160, abs=1)  # of 640, 20 of 80 ms
    run(page)
    raw = read_x(tmp_path / "events.npz")
    wanted = small_predictor(EVENT)(synthetic_pair()[0], raw, options=XOptions(window_ms=(0, 20)))
    assert np.array_equal(shown_array(page), wanted.labels["fused"])


def test_four_files_are_one_x_and_go_with_the_session(opened, address, tmp_path, uploads):
    page = opened
    rgb, _ = write_pair(tmp_path)
    rng = np.random.default_rng(0)
    files = [tmp_path / f"pol_{angle:03d}.png" for angle in (0, 45, 90, 135)]
    for file in files:
        cv2.imwrite(str(file), rng.integers(100, 4000, (120, 160), dtype=np.uint16))
    replace_files(page, address, rgb, None)
    page.set_input_files("#ktb-x input[type=file]", [str(file) for file in files])
    page.wait_for_selector(f"{SAID} .ktb-warn >> text=looks like the degree of polarization")
    run(page)
    stored = below(uploads, "pol_*")
    assert len(stored) >= 4
    page.goto("about:blank")
    for _ in range(100):
        if not any(path.exists() for path in stored):
            break
        page.wait_for_timeout(200)
    assert not below(uploads, "pol_*")


def reads_x(response) -> bool:
    """Whether an answer is that of the event that reads X again: the only one here with many inputs."""
    return "/run/predict" in response.url and len(response.request.post_data_json["data"]) > 4


def test_a_rgb_image_without_x_has_a_way_on(page, tmp_path):
    rgb, _ = write_pair(tmp_path)
    upload(page, rgb, None)
    assert page.locator("#ktb-alone").count() == 0
    page.click("#ktb-run")
    page.wait_for_selector("#ktb-alone")
    with page.expect_response(reads_x) as read:
        page.set_input_files("#ktb-rgb input[type=file]", str(rgb))  # X is read after the run failed
    read.value.finished()
    page.wait_for_timeout(500)
    page.click("#ktb-alone", timeout=2000)
    wait_for_run(page)
    assert "RGB image alone" in page.text_content(".ktb-v-doubts")
    wanted = small_predictor(DEPTH)(synthetic_pair()[0], None)
    assert np.array_equal(shown_array(page), wanted.labels["fused"])
    summary = json.loads(downloaded(page)["prediction.json"])
    assert summary["x"]["origin"] == "missing"
    assert page.locator("#ktb-x input[type=file]").count() == 0
    assert not page.locator("#ktb-x-details").is_visible()


def test_an_alignment_is_previewed_applied_and_removed(opened, address, tmp_path):
    page = opened
    rgb, depth = write_pair(tmp_path)
    replace_files(page, address, rgb, depth)
    page.wait_for_selector(f"{SAID} img")
    matrix = tmp_path / "shift.json"
    matrix.write_text("[[1, 0, 8], [0, 1, 0]]")
    unfold(page, "#ktb-align", "#ktb-calibration")
    with page.expect_file_chooser() as chooser:
        page.click("#ktb-calibration")
    chooser.value.set_files(str(matrix))
    page.wait_for_selector('#ktb-align-preview img[alt="alignment after"]')
    assert page.locator('#ktb-align-preview img[alt="alignment before"]').count() == 1
    assert "Nothing is applied" in page.inner_text("#ktb-aligned")
    page.click("#ktb-align-use")
    page.wait_for_selector("#ktb-aligned >> text=Applied: shift.json")
    run(page)
    wanted = small_predictor(DEPTH)(*synthetic_pair(), options=XOptions(matrix=((1, 0, 8), (0, 1, 0))))
    assert np.array_equal(shown_array(page), wanted.labels["fused"])
    page.click("#ktb-align-remove")
    page.wait_for_selector("#ktb-aligned >> text=Nothing is applied")
    bad = tmp_path / "bad.txt"
    bad.write_text("no numbers")
    with page.expect_file_chooser() as chooser:
        page.click("#ktb-calibration")
    chooser.value.set_files(str(bad))
    page.wait_for_selector(".toast-body >> text=no row of numbers")


def test_wrong_files_are_said_where_x_would_be(opened, address, tmp_path):
    page = opened
    rgb, depth = write_pair(tmp_path)
    (tmp_path / "wide").mkdir()
    wide = write_pair(tmp_path / "wide", 64, 300)[1]
    replace_files(page, address, rgb, wide)
    page.wait_for_selector(f"{SAID} .ktb-wrong >> text=“Alignment of X” below")
    page.click("#ktb-x button[aria-label=Clear]")
    page.wait_for_selector(f"{SAID} >> text=what it is decides which checkpoint runs")
    upload(page, None, depth)
    page.wait_for_selector(f"{SAID} img")


def test_what_a_direct_call_is_refused_with_is_shown(page, tmp_path, uploads):
    """Gradio shows errors of its queue only; reading X goes past it."""
    before = {path for path in below(uploads, "*") if path.is_file()}
    rgb, depth = write_pair(tmp_path)
    upload(page, rgb, depth)
    page.wait_for_selector(f"{SAID} img")
    for path in {path for path in below(uploads, "*") if path.is_file() and path.suffix != ".lock"} - before:
        path.unlink()  # as after a restart of the server
    page.click("#ktb-source label:has-text('None (RGB only)')")
    page.wait_for_selector(".toast-body >> text=a file is not here, or not any more")


def test_a_tiff_rgb_image_is_shown(opened, address, tmp_path):
    page = opened
    photo, depth = synthetic_pair()
    Image.fromarray(photo).save(tmp_path / "photo.tif")
    replace_files(page, address, tmp_path / "photo.tif", write_pair(tmp_path)[1])
    page.wait_for_function("document.querySelector('#ktb-rgb img')?.naturalWidth === 160")
    run(page)
    wanted = small_predictor(DEPTH)(photo, depth)
    assert np.array_equal(shown_array(page), wanted.labels["fused"])


COPY_PICTURE = """async () => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [200, 100];
  canvas.getContext('2d').fillRect(50, 20, 80, 40);
  const blob = await new Promise(done => canvas.toBlob(done, 'image/png'));
  await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]);
}"""


@pytest.mark.parametrize("source", ["camera", "clipboard"])
def test_camera_and_clipboard_give_rgb_images(browser, address, uploads, source):
    context = browser.new_context(permissions=["camera", "clipboard-read", "clipboard-write"])
    tab = new_tab(context, address)
    tab.click("#ktb-source label:has-text('None (RGB only)')")
    tab.wait_for_selector(f"{SAID} >> text=RGB image alone")
    before = set(below(uploads, "*.*"))
    if source == "camera":
        tab.click("#ktb-rgb button[aria-label='Capture from camera']")
        tab.click("#ktb-rgb >> text=Click to Access Webcam")
        tab.wait_for_function("document.querySelector('#ktb-rgb video')?.currentTime > 0")
        tab.click("#ktb-rgb button[aria-label='capture photo']")
    else:
        tab.evaluate(COPY_PICTURE)
        tab.click("#ktb-rgb button[aria-label='Paste from clipboard']")
    tab.wait_for_selector("#ktb-rgb img")
    stored = set(below(uploads, "*.*")) - before
    assert stored
    if source == "camera":
        run(tab)
        assert "no X: zero tokens" in tab.inner_text("#ktb-foot")
    tab.wait_for_timeout(500)  # the page remembers an upload even if it is never run
    tab.goto("about:blank")
    for _ in range(100):
        if not any(path.exists() for path in stored):
            break
        tab.wait_for_timeout(200)
    assert not [path for path in stored if path.exists()]
    context.close()


def test_http_api_takes_options_several_files_and_no_x(address, tmp_path, uploads):
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    rgb, depth = (path.rename(tmp_path / f"more_{path.name}") for path in write_pair(tmp_path))
    client, photo = Client(address, verbose=False), handle_file(str(rgb))
    x = [handle_file(str(depth))]

    def labels(answer) -> np.ndarray:
        data = contents(answer["files"]["labels_fused.png"])
        return np.asarray(Image.open(io.BytesIO(data)))

    predictor, pair = small_predictor(DEPTH), synthetic_pair()
    answer = client.predict(photo, x, DEPTH, {"unit": "0.1mm"}, api_name="/segment")
    wanted = predictor(*pair, options=XOptions(unit="0.1mm"))
    assert np.array_equal(labels(answer), wanted.labels["fused"])
    answer = client.predict(photo, None, DEPTH, {}, "none", api_name="/segment")
    assert answer["x"]["origin"] == "missing"
    assert np.array_equal(labels(answer), predictor(pair[0], None).labels["fused"])
    for x_files, options, source, message in (
        (None, {}, "file", "X image is missing"),
        (x, {"unitt": "mm"}, "file", "unknown keys"),
        (x, {"unit": "ell"}, "file", "depth unit 'ell'"),
        (x, [1], "file", "options of X are list"),
        (x, {}, "elsewhere", "choose one of file, none, estimate"),
        (x * 3, {}, "file", "3 files as X"),
    ):
        with pytest.raises(AppError, match=message):
            client.predict(photo, x_files, DEPTH, options, source, api_name="/segment")
    client.close()
    assert not below(uploads, "more_*")


def test_what_is_in_doubt_is_decided_on_the_page(opened, address, tmp_path):
    page = opened
    y, x = np.mgrid[:96, :128]
    depth = (1500 + 10 * y + x).astype(np.uint16)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.full((96, 128, 3), 90, np.uint8)).save(tmp_path / "photo.jpg", exif=exif)
    Image.fromarray(depth.byteswap()).save(tmp_path / "depth.png")
    replace_files(page, address, tmp_path / "photo.jpg", tmp_path / "depth.png")
    page.wait_for_selector(f"{SAID} .ktb-wrong >> text=turned by its EXIF orientation (6) from 128 x 96")
    open_fields(page)
    choose(page, "#ktb-turn", "EXIF")
    page.wait_for_selector(f"{SAID} .ktb-warn >> text=The bytes of each value were in the wrong order")
    page.wait_for_selector(f"{SAID} >> text=1.50 / 2.04 / 2.58 m")
    choose(page, "#ktb-byte-order", "as stored")
    page.wait_for_function(f"!document.querySelector('{SAID}').innerText.includes('wrong order')")
    choose(page, "#ktb-channel", "4")
    page.wait_for_selector(f"{SAID} .ktb-wrong >> text=has one channel, no channel 4")
    page.click("#ktb-reset")
    page.wait_for_selector(f"{SAID} .ktb-wrong >> text=turned by its EXIF orientation (6) from 128 x 96")
