"""The real page in a real browser: what a visitor can do, and what must not break it."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
from helpers.embedded import small_predictor
from helpers.page.api_calls import contents
from helpers.page.browsing import (
    below,
    downloaded,
    replace_files,
    run,
    shown_array,
    upload,
    wait_for_run,
    watched_tab,
)
from helpers.pairs import synthetic_pair, write_pair
from PIL import Image

from app.handlers import Handlers
from app.service import Service
from app.web.rate_limits import SHARES
from app.widgets.examples import examples
from app.widgets.x_files import newest_x

MODEL = "ktb-lite-nyuv2-depth"


@pytest.fixture(scope="module")
def opened(context, address):
    """One page for the tests that give it files, and leave it when they like."""
    with watched_tab(context, address) as tab:
        yield tab


def test_upload_run_and_find_the_masks(opened, address, tmp_path, expected):
    page = opened
    replace_files(page, address, *write_pair(tmp_path))
    run(page)
    assert np.array_equal(shown_array(page), expected.labels["fused"])
    files = downloaded(page)
    for branch in ("fused", "rgb", "x"):
        labels = np.asarray(Image.open(io.BytesIO(files[f"labels_{branch}.png"])))
        assert np.array_equal(labels, expected.labels[branch])
    assert expected.class_table()[0].name in page.inner_text(".ktb-v-classes")
    foot = page.inner_text("#ktb-foot")
    assert MODEL in foot
    assert "160×120" in foot
    assert "millimetres" in foot
    assert page.foreign_requests == []
    paths = {urlsplit(url).path for url in page.fetched if url.startswith("http")}
    assert len(paths) > 50
    assert [path for path in paths if price(path) == price("/")] == ["/"]  # more would be further pages


def price(path: str) -> re.Pattern[str]:
    """The row of the rate limits that a GET request of a path takes from."""
    return next(pattern for method, pattern, *_ in SHARES if method == "GET" and pattern.match(path))


@pytest.mark.parametrize("first", ["rgb", "x"])
def test_own_files_take_the_place_of_an_examples(page, tmp_path, expected, first):
    page.locator("#ktb-examples img").first.click()
    wait_for_run(page)
    rgb, x = write_pair(tmp_path)
    if first == "rgb":
        upload(page, rgb, None)
        page.wait_for_selector("#ktb-x .file-preview", state="detached")
        upload(page, None, x)
    else:
        upload(page, None, x)
        page.wait_for_selector(f"#ktb-x >> text={examples()[0].x.stem}", state="detached")
        upload(page, rgb, None)
    page.wait_for_selector(f"#ktb-rgb img[src*={rgb.stem}]")
    run(page)
    assert np.array_equal(shown_array(page), expected.labels["fused"])


def test_only_files_of_examples_give_way():
    pair = examples()[0]
    rgb, x, own = str(pair.rgb), str(pair.x), "own.png"
    ours, custom = (Handlers(None, None, one, None, None, None)._own_files for one in (
        None, SimpleNamespace(files=[Path("own.png").resolve(), Path("own_x.npy").resolve()])))  # fmt: skip
    assert ours(rgb, [x]) == [x]
    assert ours(None, [x]) == [x]
    assert ours(own, [x]) == []
    assert ours(rgb, [x, own]) == [own]
    assert ours(own, [own, "own_2.png"]) == [own, "own_2.png"]
    assert ours(own, None) is None
    assert custom(own, ["own_x.npy"]) == ["own_x.npy"]
    assert custom("other.png", ["own_x.npy"]) == []


def test_a_second_own_x_takes_the_place_of_the_first_and_the_page_says_so(page, tmp_path):
    _, x = write_pair(tmp_path)
    second = x.with_name(f"second{x.suffix}")
    second.write_bytes(x.read_bytes())
    upload(page, None, x)
    page.wait_for_selector("#ktb-x-read img")
    page.set_input_files("#ktb-x input[type=file]", str(second))
    said = f"{second.name} takes the place of {x.name}: a run has one X. Choose the files of a set together."
    page.wait_for_selector(f"#ktb-x-read >> text={said}")
    assert page.locator("#ktb-x .file-preview tr").count() == 1
    assert "second" in page.inner_text("#ktb-x .file-preview")


def test_an_rgb_image_that_cannot_be_read_is_named_at_once(page, tmp_path):
    (tmp_path / "notes.png").write_text("no picture at all")
    page.set_input_files("#ktb-rgb input[type=file]", str(tmp_path / "notes.png"))
    page.wait_for_selector("#ktb-x-read >> text=The RGB image cannot be read: notes.png: this is a text")


SETS = [["glass_0.png", "glass_45.png", "glass_90.png", "glass_135.png"], ["sin.npy", "cos.npy"]]


@pytest.mark.parametrize(
    ("before", "given", "left"),
    [
        ([], ["a.png"], ["a.png"]),
        (["a.png"], ["a.png", "b.png"], ["b.png"]),
        (["a.png"], ["a.png", "a.png"], ["a.png"]),
        (["b.png", "a.png"], ["b.png", "a.png"], ["b.png", "a.png"]),
        (["a.png"], ["a.png", "text.txt"], ["a.png", "text.txt"]),  # an error is shown, nothing is lost
        (["a.png", "b.png"], ["a.png"], ["a.png"]),  # one is removed
        (["a.png"], ["a.png", *SETS[0]], SETS[0]),
        (SETS[0], [*SETS[0], "a.png"], ["a.png"]),
        (SETS[0][:1], SETS[0][:2], SETS[0][:2]),  # a set that grows
        (SETS[0][:3], SETS[0], SETS[0]),
        (SETS[1][:1], SETS[1], SETS[1]),
        (["glass_0.png"], ["glass_0.png", "bowl_45.png"], ["bowl_45.png"]),
        (["glass_0.png"], ["glass_0.png", "glass_7.png"], ["glass_7.png"]),
    ],
)
def test_an_added_x_replaces_what_it_makes_no_set_with(before, given, left):
    def reads(files: list[str]) -> bool:
        return files in SETS or (len(files) == 1 and not files[0].endswith(".txt"))

    files, replaced = newest_x(before, given, reads)
    assert files == left
    assert {*files, *replaced} == {*given}


def test_16_bit_depth_arrives_whole(opened, address, tmp_path):
    page = opened
    photo, depth = synthetic_pair()
    rgb_path, _ = write_pair(tmp_path)
    array = tmp_path / "depth_metres.npy"
    np.save(array, np.where(depth == 0, np.nan, depth / 1000.0).astype(np.float32))
    replace_files(page, address, rgb_path, array)
    run(page)
    files = downloaded(page)
    labels = np.asarray(Image.open(io.BytesIO(files["labels_fused.png"])))
    metres = np.where(depth == 0, np.nan, depth / 1000.0).astype(np.float32)
    again = small_predictor(MODEL)(photo, metres)
    assert np.array_equal(labels, again.labels["fused"])


def bad_inputs(folder: Path) -> list[tuple[Path | None, Path | None, str]]:
    """RGB image, X and what the message must say."""
    rgb, depth = write_pair(folder)
    (folder / "wide").mkdir()
    wide = write_pair(folder / "wide", 64, 300)[1]
    page_named_png = folder / "page.png"
    page_named_png.write_text("<!DOCTYPE html><html><body>no picture</body></html>")
    cut = folder / "cut.png"
    cut.write_bytes(depth.read_bytes()[:900])
    huge = folder / "huge.png"
    Image.new("1", (20_000, 20_000)).save(huge)
    pickled = folder / "objects.npy"
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return [
        (rgb, None, "X image is missing"),
        (None, depth, "RGB image is missing"),
        (rgb, wide, "proportions differ"),
        (rgb, page_named_png, "web page"),
        (rgb, cut, "damaged or cut off"),
        (rgb, huge, "50,000,000 in all"),
        (rgb, pickled, "Python objects"),
        (page_named_png, depth, "web page"),
    ]


def test_bad_inputs_get_messages(service, tmp_path):
    for rgb, x, message in bad_inputs(tmp_path):
        with pytest.raises(ValueError, match=message):
            service.segment(rgb and str(rgb), x and str(x), MODEL)


def test_a_bad_input_gets_its_message_and_the_page_lives_on(opened, address, tmp_path):
    page = opened
    rgb, depth = write_pair(tmp_path)
    cut = tmp_path / "cut.png"
    cut.write_bytes(depth.read_bytes()[:900])
    replace_files(page, address, rgb, cut)
    page.click("#ktb-run")
    page.wait_for_selector(".toast-body >> text=damaged or cut off")
    page.click("#ktb-x button[aria-label=Clear]")
    upload(page, None, depth)
    run(page)


def test_uploads_are_deleted_when_the_page_is_left(opened, address, tmp_path, uploads):
    page = opened
    rgb_path, x_path = write_pair(tmp_path)
    named = [path.rename(tmp_path / f"leaving_{path.name}") for path in (rgb_path, x_path)]
    replace_files(page, address, *named)
    run(page)
    assert len(below(uploads, "leaving_*")) >= 2
    page.goto("about:blank")
    for _ in range(100):
        left = [path for path in below(uploads, "*") if path.is_file() and path.suffix != ".lock"]
        if not left:
            break
        page.wait_for_timeout(200)  # what is written as the page is left goes as soon as it is there
    assert not [path for path in below(uploads, "leaving_*")]
    assert not left  # nor what Gradio writes beside them


def test_http_api_gives_the_same_masks_and_deletes_its_uploads(address, tmp_path, uploads, expected):
    from gradio_client import Client, handle_file

    pair = write_pair(tmp_path)
    rgb_path, x_path = (path.rename(tmp_path / f"api_{path.name}") for path in pair)
    client = Client(address, verbose=False)
    answer = client.predict(
        handle_file(str(rgb_path)),
        [handle_file(str(x_path))],
        MODEL,
        api_name="/segment",
    )
    for branch in ("fused", "rgb", "x"):
        data = contents(answer["files"][f"labels_{branch}.png"])
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), expected.labels[branch])
    client.close()
    assert answer["model"] == MODEL
    assert not below(uploads, "api_*")


def test_an_example_that_is_chosen_while_another_runs_is_run_after_it(page, monkeypatch):
    assert len(examples()) >= 3
    run, segment = [], Service.segment
    monkeypatch.setattr(
        Service, "segment", lambda self, rgb, *rest: run.append(Path(rgb).stem) or segment(self, rgb, *rest)
    )
    tiles = page.locator("#ktb-examples button.thumbnail-item")
    tiles.nth(0).click()
    page.wait_for_function("document.querySelector('#ktb-x-read img')")
    tiles.nth(1).click()
    for _ in range(300):
        if len(run) == 2:
            break
        page.wait_for_timeout(100)
    assert len(run) == 2
    assert run[0] != run[1]
    wait_for_run(page)
    assert "millimetres" in page.inner_text("#ktb-foot")
