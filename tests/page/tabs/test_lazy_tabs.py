"""What a run costs does not grow with the tabs: one viewer for all of them, and maps once for all uses."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from helpers.page.browsing import run, upload, wait_for_ablations, watched_tab
from helpers.pairs import write_pair

import ktb.analysis.maps
from app.page import build_page
from app.service import Service
from app.tabs.how_it_works import TERMS
from app.viewer import run_bytes
from app.widgets.downloads import export_file
from ktb.analysis import Inspection


def open_tab(tab, name: str, place: str = "#ktb-tabs") -> None:
    """By its button, which lies in a menu where the page is narrow."""
    button = tab.get_by_role("tab", name=name, exact=True)
    menu = tab.locator(f"{place} .overflow-menu > button").first
    button.or_(menu).first.wait_for()
    if not button.count():
        menu.click()
        button = tab.locator(f"{place} .overflow-dropdown button", has_text=name)
    button.click()


@pytest.fixture(scope="module")
def opened(context, address, tmp_path_factory):
    """One page with a run; `first` is where the viewer came up while the tab “What if” was open."""
    with watched_tab(context, address) as tab:
        tab.pair = write_pair(tmp_path_factory.mktemp("pair"))
        upload(tab, *tab.pair)
        open_tab(tab, "What if")
        run(tab)
        tab.first = tab.evaluate("document.querySelector('.ktb-v').closest('.ktb-slot').dataset.slot")
        yield tab


def test_a_run_in_another_tab_shows_there(opened):
    assert opened.first == "what-if"


@pytest.mark.parametrize("width", [1400, 390])
def test_the_viewer_is_in_the_open_tab_and_asks_for_nothing_on_its_way(opened, width):
    page = opened
    page.set_viewport_size({"width": width, "height": 1000})
    open_tab(page, "Inspect")
    wait_for_ablations(page)
    asked = []
    page.on("request", count := lambda request: asked.append(request.url))
    open_tab(page, "What if")
    page.wait_for_selector("#ktb-slot-what-if .ktb-v canvas")
    open_tab(page, "Evaluate")
    page.wait_for_selector("#ktb-slot-truth .ktb-v canvas")
    open_tab(page, "How it works")
    page.wait_for_selector(".ktb-terms")
    open_tab(page, "Inspect")
    page.wait_for_selector("#ktb-slot-inspect .ktb-v canvas")
    page.remove_listener("request", count)
    assert page.locator(".ktb-v").count() == 1
    assert asked == []


def test_the_terms_are_on_the_page(opened):
    open_tab(opened, "How it works")
    opened.wait_for_selector(".ktb-terms")
    assert opened.locator(".ktb-terms dt").all_text_contents() == list(TERMS)
    assert opened.locator(".ktb-terms dd").all_text_contents() == list(TERMS.values())


def test_x_that_was_read_after_the_run_stays(opened):
    page, (_, depth) = opened, opened.pair
    page.set_viewport_size({"width": 1400, "height": 1000})  # a narrow page folds the inputs
    run(page)  # without ablations
    newer = depth.with_name("newer.png")
    newer.write_bytes(depth.read_bytes())
    page.click("#ktb-x button[aria-label=Clear]")
    page.wait_for_selector("#ktb-x-read img", state="detached")  # else the old one passes for the new one
    upload(page, None, newer)
    page.wait_for_selector("#ktb-x-read img")
    page.click("#ktb-x-details button")
    page.wait_for_selector("#ktb-x-panel h4 >> text=newer.png")
    wait_for_ablations(page)
    assert "newer.png" in page.text_content("#ktb-x-panel h4")


def test_what_only_draws_goes_past_what_gradio_does_for_an_event():
    events = build_page(Service()).get_config_file()["dependencies"]
    at_once = [event for event in events if event["backend_fn"] and event["queue"] is False]
    assert len(at_once) > 10


def test_a_result_is_shown_also_while_the_viewer_still_takes_the_one_before():
    events = build_page(Service()).get_config_file()["dependencies"]
    shown = [event for event in events if "ktbShow(" in str(event["js"]) or "ktbAdd(" in str(event["js"])]
    assert len(shown) > 5
    assert {event["trigger_mode"] for event in shown} == {"always_last"}  # "once" drops the second one


def test_level_maps_are_made_once_for_all_threads(result, monkeypatch):
    calls, make = [], ktb.analysis.maps.level_maps
    monkeypatch.setattr(ktb.analysis.maps, "level_maps", lambda *args: calls.append(args[1]) or make(*args))
    fresh = replace(result, inspection=Inspection(result.prediction))
    assert fresh.inspection.levels == 4
    assert calls == []
    threads = [threading.Thread(target=lambda: fresh.inspection.maps(0)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [0]
    assert [maps.level for maps in fresh.inspection.all_maps()] == [0, 1, 2, 3]
    assert calls == [0, 1, 2, 3]


def test_the_viewer_and_downloads_compute_each_level_once(result, monkeypatch):
    calls, make = [], ktb.analysis.maps.level_maps
    monkeypatch.setattr(ktb.analysis.maps, "level_maps", lambda *args: calls.append(args[1]) or make(*args))
    fresh = replace(result, inspection=Inspection(result.prediction))
    run_bytes(fresh)
    for kind in ("npz", "html", "svg"):
        export_file(fresh, kind, {}, {})
    assert sorted(calls) == [0, 1, 2, 3]
