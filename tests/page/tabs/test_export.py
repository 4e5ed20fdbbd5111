"""What is taken along: figures, arrays and reports as they are, and settings that restore the page."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from helpers.embedded import small_predictor, small_service
from helpers.page.browsing import VIEWER, WAIT, below, run, show_layer, upload
from helpers.pairs import synthetic_pair, write_pair
from PIL import Image
from typer.testing import CliRunner

from app.settings import (
    MAX_CHARACTERS,
    Settings,
    form_of,
    settings_from_json,
    settings_from_link,
    settings_of,
)
from app.widgets.downloads import export_file, file_name
from app.widgets.x_form import x_options
from ktb import Predictor, load_model
from ktb.__main__ import app as command_line
from ktb.analysis import Inspection
from ktb.analysis.color_range import ColorScale
from ktb.inputs import XOptions
from ktb.outputs.arrays import META, arrays_npz, prediction_arrays
from ktb.outputs.figure import caption, figure_bytes
from ktb.outputs.report import report_html

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = "ktb-lite-nyuv2-depth"
HOSTILE = '<script src="http://evil.example/a.js">$\\frac{$&"\x00'
SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"


@pytest.fixture(scope="module")
def photo():
    return synthetic_pair()[0]


@pytest.fixture(scope="module")
def prediction():
    return small_predictor(MODEL)(*synthetic_pair())


@pytest.fixture(scope="module")
def hostile(prediction):
    """The prediction with every text that comes from files as bad as it can be."""
    facts = {**prediction.x.facts, "file": HOSTILE, HOSTILE: HOSTILE}
    reading = dataclasses.replace(prediction.x, facts=facts, summary=HOSTILE, warnings=(HOSTILE,))
    classes = tuple(HOSTILE for _ in prediction.classes)
    return dataclasses.replace(prediction, model=HOSTILE, classes=classes, x=reading)


# ---- the figure


def test_svg_is_text_with_its_pictures_inside(photo, prediction):
    data = figure_bytes(photo, prediction, "svg")
    root = ElementTree.fromstring(data)
    words = " ".join("".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    for expected in (
        "RGB image",
        "Fused mask",
        "RGB head",
        "Balance, level 3",
        f"Checkpoint {MODEL}",
        "160 × 120",
    ):
        assert expected in words
    assert prediction.class_table()[0].name in words
    pictures = list(root.iter(f"{SVG}image"))
    assert len(pictures) >= 9  # RGB image, X, three masks, four levels; the colour bar's ramp
    references = [value for node in root.iter() for key, value in node.attrib.items() if key.endswith("href")]
    assert len(references) >= len(pictures)
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in references)
    assert b"url(http" not in data
    assert b"@import" not in data


def test_svg_holds_the_masks_pixels(photo, prediction):
    root = ElementTree.fromstring(figure_bytes(photo, prediction, "svg"))
    shown = [
        np.asarray(
            Image.open(io.BytesIO(base64.b64decode(node.attrib[LINK].split(",", 1)[1]))).convert("RGB")
        )
        for node in root.iter(f"{SVG}image")
    ]
    for branch in ("fused", "rgb", "x"):
        colors = prediction.colors(branch)
        assert any(one.shape == colors.shape and np.array_equal(one, colors) for one in shown), branch


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_equal_predictions_give_equal_files_without_a_date(photo, prediction, kind):
    data = figure_bytes(photo, prediction, kind, dpi=60)
    assert data == figure_bytes(photo, prediction, kind, dpi=60)
    assert b"CreationDate" not in data
    assert b"<dc:date>" not in data


def test_pdf_and_png_are_what_they_say(photo, prediction):
    pdf = figure_bytes(photo, prediction, "pdf")
    assert pdf.startswith(b"%PDF-1.")
    assert b"/FontFile2" in pdf  # the font's outlines are inside
    small, large = (Image.open(io.BytesIO(figure_bytes(photo, prediction, "png", dpi=d))) for d in (60, 120))
    assert small.size[0] == 600
    assert large.size[0] == 1200
    assert small.text["Checkpoint"] == MODEL
    assert small.text["X"] == "measured"


def test_the_caption_says_what_it_is(prediction):
    flat = np.full((4, 5), 0.5)
    said = caption(prediction, ColorScale("diverging", 0.3, 0.7), [flat, np.where(flat > 0, 0.9, 0)], head=1)
    for expected in (MODEL, "depth, measured", "head 1", "0.30 to 0.70", "0.0 %, 100.0 % of the maps"):
        assert expected in said
    missing = dataclasses.replace(prediction.x, origin="missing", warnings=("X was ablated.",))
    assert "Note: X was ablated." in caption(dataclasses.replace(prediction, x=missing), None)


def test_a_head_changes_the_balance_maps(photo, prediction):
    mean, first = (figure_bytes(photo, prediction, "png", dpi=60, head=head) for head in (None, 0))
    assert mean != first


def test_a_run_without_trace_has_a_figure_and_a_report(photo, prediction):
    plain = dataclasses.replace(prediction, trace=None)
    assert b"there are no balance maps" in figure_bytes(photo, plain, "svg")
    assert "no attention to show" in report_html(photo, plain)
    assert not [name for name in prediction_arrays(plain) if name.startswith("balance")]


def test_wrong_wishes_get_messages(photo, prediction):
    for options, message in (
        ({"kind": "gif"}, "choose one of svg, pdf, png"),
        ({"dpi": 5000}, "50 to 600"),
        ({"dpi": True}, "50 to 600"),
        ({"head": 99}, "head 99 does not exist"),
    ):
        with pytest.raises(ValueError, match=message):
            figure_bytes(photo, prediction, **options)
    with pytest.raises(ValueError, match="give the RGB image that the prediction was made from"):
        figure_bytes(photo[:-1], prediction)


@pytest.mark.parametrize("size", [(32, 500), (500, 32)])
def test_strips_have_figures(size):
    pair = synthetic_pair(*size)
    prediction = Predictor(load_model(MODEL), short_side=32)(*pair)
    assert Image.open(io.BytesIO(figure_bytes(pair[0], prediction, "png", dpi=60))).size[0] == 600


# ---- the arrays


def test_npz_is_the_prediction(prediction):
    loaded = np.load(io.BytesIO(arrays_npz(prediction, half=False)), allow_pickle=False)
    look = Inspection(prediction)
    for branch in ("fused", "rgb", "x"):
        assert np.array_equal(loaded[f"labels_{branch}"], prediction.labels[branch])
        assert np.array_equal(loaded[f"confidence_{branch}"], prediction.confidences[branch])
        assert np.array_equal(loaded[f"logits_{branch}"], prediction.logits[branch][0].numpy())
    for level, trace in enumerate(prediction.trace):
        assert np.allclose(loaded[f"balance_{level}"], trace.balance()[0].numpy(), atol=1e-6)
        assert np.allclose(loaded[f"entropy_{level}"], trace.entropy()[0].numpy(), atol=1e-6)
        assert np.array_equal(loaded[f"sampling_points_{level}"], trace.sampling_points[0].numpy())
        assert np.allclose(loaded[f"reference_points_{level}"], trace.reference_points.numpy()[None])
        assert np.array_equal(loaded[f"weight_x_{level}"], trace.modality_weights[0, 1].numpy())
        assert np.array_equal(loaded[f"importance_map_{level}"], look.maps(level).importance_map)
        assert np.array_equal(loaded[f"prompt_x_{level}"], prediction.prompts[level][0, 1].numpy())
    meta = json.loads(str(loaded[META]))
    assert meta["model"] == MODEL
    assert meta["classes"] == list(prediction.classes)
    assert meta["branches"]["fused"][0]["name"] == prediction.class_table()[0].name


def test_half_logits_are_near(prediction):
    halved = prediction_arrays(prediction)["logits_fused"]
    assert halved.dtype == np.float16
    assert np.allclose(halved, prediction.logits["fused"][0].numpy(), rtol=1e-3, atol=1e-3)
    assert arrays_npz(prediction) == arrays_npz(prediction)


# ---- the report


def test_the_report_says_everything(photo, prediction):
    text = report_html(photo, prediction, card={"limits": "rooms"}, settings={"model": MODEL})
    for expected in (
        MODEL,
        "160 × 120",
        prediction.x.summary,
        "rooms",
        "CVPR 2025",
        "Level 3",
        "How to cite",
    ):
        assert expected in text
    for row in prediction.class_table():
        assert f"{row.name}</td>" in text
    assert len(re.findall(r'<img alt="[^"]+"', text)) == len(re.findall("<img", text)) >= 12


def test_nothing_hostile_gets_out_of_its_place(photo, hostile):
    card = {HOSTILE: HOSTILE, "nested": {"a": 1}}
    text = report_html(photo, hostile, card=card, settings={HOSTILE: HOSTILE})
    assert "<script src" not in text
    assert 'src="http' not in text
    assert "&lt;script" in text
    ElementTree.fromstring(figure_bytes(photo, hostile, "svg"))
    assert figure_bytes(photo, hostile, "pdf").startswith(b"%PDF")
    assert str(np.load(io.BytesIO(arrays_npz(hostile)))[META])
    assert re.fullmatch(r"[A-Za-z0-9._-]+", file_name(HOSTILE))
    assert "/" not in file_name("../../etc/passwd")


def test_the_report_loads_nothing(browser, tmp_path, photo, hostile):
    file = tmp_path / "report.html"
    file.write_text(report_html(photo, hostile, card={"a": HOSTILE}, settings={"x": HOSTILE}))
    for width, scheme in ((1100, "light"), (390, "dark")):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        tab = context.new_page()
        asked: list[str] = []
        tab.on("request", lambda request, asked=asked: asked.append(request.url))
        tab.goto(file.as_uri())
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        ink, paper = tab.evaluate(
            "(() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]; })()"
        )
        dark = [sum(map(int, re.findall(r"\d+", color)[:3])) < 384 for color in (ink, paper)]
        assert dark == ([True, False] if scheme == "light" else [False, True])
        context.close()


# ---- the command line


def test_predict_writes_what_is_asked_for(tmp_path):
    rgb, x = write_pair(tmp_path)
    words = ["predict", "--rgb", str(rgb), "--x", str(x), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(command_line, [*words, "--report", "--figure", "svg", "--arrays"])
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    assert MODEL in (out / "report.html").read_text()
    ElementTree.fromstring((out / "figure.svg").read_bytes())
    assert "balance_3" in np.load(out / "arrays.npz")
    for name in ("report.html", "figure.svg", "arrays.npz"):
        assert f"wrote {out / name}" in result.output


def test_many_pairs_refuse_what_is_for_one(tmp_path):
    words = ["predict", "--rgb-dir", str(tmp_path), "--no-x", "--out", str(tmp_path / "out"), "--report"]
    result = CliRunner().invoke(command_line, words)
    assert result.exit_code != 0
    assert "--report: only for one pair" in result.output


# ---- settings


TABS = ["Inspect", "What if"]
VIEW = {
    "overlay": "map.balance", "compare": "none", "split": 0.5, "opacity": 0.25, "level": 1, "head": None,
    "isSwapped": True, "xRange": [4.5, 1.25], "pixel": [3, 4],
}  # fmt: skip
OPTIONS = [
    XOptions(),
    XOptions(modality="depth", unit="mm"),
    XOptions(modality="thermal", hot="black", value_range=(-12.25, 1 / 3)),
    XOptions(modality="hha", intrinsics=(519.5, 519.25, 325.1, 253.0)),
    XOptions(field_of_view=57.3),
    XOptions(modality="event", columns="xytp", time_unit="us", sensor_hw=(260, 346), window_ms=(5.0, 45.0)),
    XOptions(matrix=((1.01, 0.0, -3.5), (0.02, 0.99, 4.0), (0.0, 0.0, 1.0))),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_settings_come_back_as_they_were(options):
    settings = Settings(MODEL, "file", options, "What if", VIEW)
    code = settings.to_query().removeprefix("?settings=")
    assert re.fullmatch(r"[A-Za-z0-9_-]+", code)
    assert settings_from_link(code, [MODEL], TABS) == settings
    assert settings_from_json(settings.to_json(), [MODEL], TABS) == settings
    assert x_options(form_of(options)) == options


def encoded(value) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


GOOD = Settings(MODEL).to_dict()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("é", "damaged"),
        ("abc", "damaged|not JSON"),
        ("A" * (MAX_CHARACTERS + 1), "at most"),
        (encoded("[" * 4000), "not JSON"),
        (encoded('{"ktb_settings": NaN}'), "not JSON"),
        (encoded([1]), "not a KTB settings file"),
        (encoded({**GOOD, "ktb_settings": 2}), "not a KTB settings file"),
        (encoded({**GOOD, "rgb": "/etc/passwd"}), "unknown keys"),
        (encoded({**GOOD, "model": "../../x.safetensors"}), "not available"),
        (encoded({**GOOD, "model": ["a"]}), "not available"),
        (encoded({**GOOD, "x_source": "internet"}), "choose one of file"),
        (encoded({**GOOD, "x_source": {}}), "choose one of file"),
        (encoded({**GOOD, "x": {"columns": 5}}), "expected a text"),
        (encoded({**GOOD, "x": {"file": "a"}}), "unknown keys"),
        (encoded({**GOOD, "x": 3}), "give an object"),
        (encoded({**GOOD, "tab": "Nowhere"}), "choose one of Inspect"),
        (encoded({**GOOD, "tab": []}), "choose one of Inspect"),
        (encoded({**GOOD, "view": {"level": 7}}), "level 7 of the view is not possible"),
        (encoded({**GOOD, "view": {"level": True}}), "level True of the view"),
        (encoded({**GOOD, "view": {"opacity": "1"}}), "opacity '1' of the view"),
        (encoded({**GOOD, "view": {"opacity": 1e9}}), "opacity 1000000000.0 of the view"),
        (encoded({**GOOD, "view": {"pixel": [1, -1]}}), "pixel .* of the view"),
        (encoded({**GOOD, "view": {"overlay": "a" * 101}}), "overlay .* of the view"),
        (encoded({**GOOD, "view": {"xRange": [2.5, 2.5]}}), "xRange .* of the view"),
        (encoded({**GOOD, "view": {"zoom": 1}}), "unknown parts .*zoom"),
        (encoded({**GOOD, "view": [1]}), "give an object"),
    ],
)
def test_other_settings_are_refused_in_words(code, message):
    with pytest.raises(ValueError, match=message):
        settings_from_link(code, [MODEL], TABS)


def test_settings_of_earlier_versions_open_the_first_tab():
    text = json.dumps({**GOOD, "tab": "Fusion", "controls": {"opacity": 0.3}})
    assert settings_from_json(text, [MODEL], TABS) == Settings(MODEL)


def test_a_state_of_the_viewer_that_is_not_one_is_refused():
    assert settings_of(MODEL, "file", form_of(XOptions()), "", TABS, "").view == {}
    for text in ('{"a": 1}', "no JSON", "[1]", "[" * 4000):
        with pytest.raises(ValueError):
            settings_of(MODEL, "file", form_of(XOptions()), "", TABS, text)


def test_no_data_of_a_user_is_in_the_settings():
    names = {field.name for field in dataclasses.fields(Settings)}
    assert names == {"model", "x_source", "x", "tab", "view", "example"}


# ---- on the page


def choose(tab, label: str) -> None:
    tab.click("#ktb-export-kind input")
    tab.get_by_role("option", name=label).click()


def taken(tab, label: str):
    choose(tab, label)
    with tab.expect_download() as waiting:
        tab.click("#ktb-export-make")
    return waiting.value


def test_files_are_made_when_asked_and_go_with_the_session(page, uploads, tmp_path, prediction):
    page.click("#ktb-export-make")
    page.wait_for_selector(".toast-body >> text=there is no result yet")
    upload(page, *write_pair(tmp_path))
    run(page)
    assert not below(uploads, "*-arrays.npz")
    found = taken(page, "Arrays")
    assert found.suggested_filename == f"{MODEL}-arrays.npz"
    loaded = np.load(found.path(), allow_pickle=False)
    assert np.array_equal(loaded["labels_fused"], prediction.labels["fused"])
    svg = taken(page, "Figure, SVG")
    assert MODEL.encode() in svg.path().read_bytes()
    ElementTree.fromstring(svg.path().read_bytes())
    picture = Image.open(taken(page, "PNG at 150").path())
    assert picture.size[0] == 1500
    assert taken(page, "Figure, PDF").path().read_bytes().startswith(b"%PDF")
    report = taken(page, "Report").path().read_text()
    assert "How to cite" in report
    assert len(below(uploads, f"export-*/{MODEL}-*")) == 5
    page.goto("about:blank")
    for _ in range(100):
        if not below(uploads, "export-*"):
            break
        page.wait_for_timeout(200)
    assert not below(uploads, "export-*")


def test_a_link_restores_the_page(page, address, tmp_path):
    upload(page, *write_pair(tmp_path))
    run(page)
    page.click("#ktb-fix > button")
    page.click("#ktb-unit input")
    page.get_by_role("option").nth(2).click()
    unit = page.input_value("#ktb-unit input")
    show_layer(page, overlay="map.balance", opacity=0.25, level=1, pixel=[48, 80])
    page.get_by_role("tab", name="What if").click()
    page.click("#ktb-share")
    box = "document.querySelector('#ktb-link textarea, #ktb-link input')"
    page.wait_for_function(f"({box} || {{value: ''}}).value.startsWith('http')")
    link = page.input_value("#ktb-link textarea, #ktb-link input")
    assert link.startswith(address)
    settings = tmp_path / "settings.json"
    taken(page, "Settings").save_as(settings)
    assert "depth.png" not in settings.read_text()

    def check() -> None:
        page.wait_for_selector('#ktb-tabs [role=tab][aria-selected=true] >> text="What if"')
        upload(page, *write_pair(tmp_path))
        run(page)
        page.wait_for_function(f"{VIEWER}.state.overlay === 'map.balance'")
        state = page.evaluate(f"{VIEWER}.state")
        assert (state["opacity"], state["level"], state["pixel"]) == (0.25, 1, [48, 80])
        page.click("#ktb-fix > button")
        assert page.input_value("#ktb-unit input") == unit

    page.goto("about:blank")
    page.goto(link, wait_until="domcontentloaded")
    check()
    page.goto("about:blank")
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_selector("#ktb-run")
    with page.expect_file_chooser() as chooser:
        page.click("#ktb-load-settings")
    chooser.value.set_files(str(settings))
    check()


@pytest.fixture
def blank(context):
    """A page that is not open yet."""
    page = context.new_page()
    page.set_default_timeout(WAIT)
    yield page
    page.close()


def test_a_link_opens_its_tab_on_a_narrow_screen_too(blank, address):
    blank.set_viewport_size({"width": 390, "height": 900})
    for tab in ("Evaluate", "How it works"):
        blank.goto(f"{address}?settings={encoded({**GOOD, 'tab': tab})}", wait_until="domcontentloaded")
        blank.wait_for_selector(f'#ktb-tabs [role=tab][aria-selected=true] >> text="{tab}"')


def test_a_bad_link_gets_a_message_and_the_page_works(blank, address, tmp_path):
    for code, message in (
        (encoded({**GOOD, "model": "other"}), "not available here"),
        ("%3Cscript%3E", "damaged"),
    ):
        blank.goto(f"{address}?settings={code}", wait_until="domcontentloaded")
        blank.wait_for_selector(f".toast-body >> text={message}")
    upload(blank, *write_pair(tmp_path))
    run(blank)


def test_export_refuses_an_unknown_kind(prediction, tmp_path):
    result = small_service().segment(*map(str, write_pair(tmp_path)), MODEL)
    with pytest.raises(ValueError, match="choose one of svg"):
        export_file(result, "exe", {}, {})
