"""Tabs draw when they are looked at: what a run costs does not grow with the tabs that nobody opens."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from helpers.browsing import run, upload
from helpers.pairs import write_pair

import ktb.analysis.maps
from app import handlers, precompute
from app.page import build_page
from app.panels.result import result_panel
from app.precompute import precompute_maps
from app.scheduler import FairScheduler
from app.service import Service
from app.tabs import branches, x_input
from app.tabs import result as result_tab
from app.tabs.fusion import FusionTab
from app.widgets.downloads import export_file
from ktb.analysis import Inspection

MODEL = "ktb-lite-nyuv2-depth"


@pytest.fixture
def drawn(monkeypatch):
    """How often each panel of a tab was drawn by the page."""
    counts: Counter[str] = Counter()

    def counted(name, draw):
        def wrapped(*args):
            counts[name] += 1
            return draw(*args)

        return wrapped

    for module, name in ((result_tab, "result_panel"), (branches, "branches_panel"), (x_input, "x_panel")):
        monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    return counts


def open_tab(tab, name: str) -> None:
    """By its button, which lies in a menu where the page is narrow."""
    button = tab.get_by_role("tab", name=name, exact=True)
    menu = tab.locator("#ktb-tabs .overflow-menu > button")
    button.or_(menu).first.wait_for()
    if not button.count():
        menu.click()
        button = tab.locator("#ktb-tabs .overflow-dropdown button", has_text=name)
    button.click()


def run_again(tab) -> None:
    tab.evaluate("document.querySelector('.ktb-footer')?.setAttribute('data-old', '')")
    tab.click("#ktb-run")
    tab.wait_for_selector(".ktb-footer:not([data-old])")


def settle(tab) -> None:
    """Wait for what must not come."""
    tab.wait_for_timeout(1000)


def test_a_tab_is_drawn_once_when_it_is_opened(page, drawn, tmp_path):
    open_tab(page, "Branches")
    page.wait_for_selector("#ktb-branches >> text=No result yet")
    open_tab(page, "Result")
    upload(page, *write_pair(tmp_path))
    run(page)
    settle(page)
    assert drawn == {"result_panel": 1}
    for _ in range(2):
        open_tab(page, "Branches")
        page.wait_for_selector('#ktb-branches img[alt="fused mask"]')
        open_tab(page, "Result")
    settle(page)
    assert drawn == {"result_panel": 1, "branches_panel": 1}


def test_the_open_tab_is_drawn_again_by_the_next_run(page, drawn, tmp_path):
    upload(page, *write_pair(tmp_path))
    open_tab(page, "Branches")
    run_again(page)
    page.wait_for_selector('#ktb-branches img[alt="fused mask"]')
    page.evaluate("document.querySelector('#ktb-branches .ktb-grid').setAttribute('data-old', '')")
    page.locator("#ktb-source label").nth(1).click()
    run_again(page)
    page.wait_for_selector("#ktb-branches >> text=there was no X")
    settle(page)
    assert drawn == {"branches_panel": 2}
    open_tab(page, "X input")
    page.wait_for_selector("#ktb-x-tab >> text=There is no X")
    assert drawn["x_panel"] == 1


def test_a_tab_in_the_menu_of_a_narrow_page_is_drawn_too(page, drawn, tmp_path):
    page.set_viewport_size({"width": 390, "height": 900})
    upload(page, *write_pair(tmp_path))
    open_tab(page, "X input")
    run_again(page)
    settle(page)
    assert drawn == {"x_panel": 1}
    open_tab(page, "Branches")
    page.wait_for_selector('#ktb-branches img[alt="fused mask"]', state="attached")


def test_x_that_was_read_after_the_run_stays(page, tmp_path):
    rgb, depth = write_pair(tmp_path)
    upload(page, rgb, depth)
    run(page)
    newer = depth.with_name("newer.png")
    newer.write_bytes(depth.read_bytes())
    page.click("#ktb-x button[aria-label=Clear]")
    page.wait_for_selector("#ktb-x-read img", state="detached")  # else the old one passes for the new one
    upload(page, None, newer)
    page.wait_for_selector("#ktb-x-read img")
    open_tab(page, "X input")
    page.wait_for_selector("#ktb-x-tab h4 >> text=newer.png", state="attached")
    settle(page)
    assert "newer.png" in page.inner_text("#ktb-x-tab h4")


def test_x_is_drawn_large_when_its_tab_is_seen(page, monkeypatch, tmp_path):
    drawn, draw = [], handlers.x_panel
    monkeypatch.setattr(handlers, "x_panel", lambda view: drawn.append(view) or draw(view))
    upload(page, *write_pair(tmp_path))
    page.wait_for_selector("#ktb-x-read img")
    settle(page)
    assert not drawn
    for _ in range(2):
        open_tab(page, "X input")
        page.wait_for_selector("#ktb-x-tab img")
        open_tab(page, "Result")
    settle(page)
    assert len(drawn) == 1


def test_what_only_draws_goes_past_what_gradio_does_for_an_event():
    events = build_page(Service()).get_config_file()["dependencies"]
    at_once = [event for event in events if event["backend_fn"] and event["queue"] is False]
    assert len(at_once) > 20
    assert {name for event in at_once for _, name in event["targets"]} == {"load"}


def test_one_is_asked_at_a_time_and_then_the_latest(page):
    asked = """async () => {
      const real = window.fetch, sent = [];
      window.fetch = async (address, given) => {
        const body = given?.body ?? '';
        if (!body.includes('"fn_index":999')) return real(address, given);
        sent.push(JSON.parse(body).data[0]);
        await new Promise((later) => setTimeout(later, 50));
        return sent.at(-1) === 4 ? new Response('{"error": "no"}', { status: 500 })
                                 : new Response(JSON.stringify({ data: [sent.at(-1) * 10] }));
      };
      const ask = (number) => window.ktbAsk(999, [number], false, 'lane').catch(() => 'refused');
      const found = [await Promise.all([1, 2, 3].map(ask)), await ask(4), await ask(5), sent];
      window.fetch = real;
      return found;
    }"""
    assert page.evaluate(asked) == [[[10], [], [30]], "refused", [50], [1, 3, 4, 5]]


def test_a_choice_that_the_list_reports_twice_is_asked_for_once(page, tmp_path):
    upload(page, *write_pair(tmp_path))
    run(page)
    settle(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/run/" in request.url else None)
    page.click("#ktb-left input")
    page.get_by_role("option", name="Confidence", exact=True).locator("visible=true").click()
    page.wait_for_selector("#ktb-stage img[alt='confidence']")
    settle(page)
    assert len(asked) == 1


def test_a_drawing_that_is_lost_on_its_way_is_told_and_leaves_all_as_it_was(page, tmp_path):
    upload(page, *write_pair(tmp_path))
    run(page)
    open_tab(page, "Fusion")
    page.wait_for_selector("#ktb-pane-map img")
    page.wait_for_timeout(2500)  # what is drawn ahead is not what is lost
    page.route("**/run/predict", lambda route: route.abort())
    page.locator("#ktb-level label").nth(0).click()
    page.wait_for_selector(".toast-body >> text=The server does not answer.")
    messages = page.locator(".toast-body").count()  # another drawing may have been lost, too
    assert page.get_by_text("Error", exact=True).count() == messages  # no place says it
    page.unroute("**/run/predict")
    page.locator("#ktb-level label").nth(1).click()
    page.wait_for_selector("#ktb-honesty tr.chosen[data-level='1']")


@pytest.fixture
def fusions(page, monkeypatch, tmp_path):
    """What was drawn in the fusion tab of a page with a result, which was looked at."""
    drawn, draw = [], FusionTab.draw
    monkeypatch.setattr(FusionTab, "draw", lambda *given: drawn.append(given[1]) or draw(*given))
    upload(page, *write_pair(tmp_path))
    run(page)
    settle(page)
    open_tab(page, "Fusion")
    page.wait_for_selector("#ktb-pane-photo img.ktb-view")
    open_tab(page, "Result")
    page.locator("#ktb-source label").nth(1).click()
    return drawn


def test_the_fusion_is_drawn_ahead_and_once(page, fusions):
    assert len(fusions) == 1
    run_again(page)
    page.wait_for_selector("#ktb-fusion >> text=X was missing", state="attached")
    assert not page.is_visible("#ktb-pane-photo")
    open_tab(page, "Fusion")
    settle(page)
    assert page.is_visible("#ktb-fusion >> text=X was missing")
    assert [result.x_is_missing for result in fusions] == [False, True]


def test_nothing_is_drawn_ahead_while_the_network_is_busy(page, fusions, monkeypatch):
    with monkeypatch.context() as busy:
        busy.setattr(FairScheduler, "is_free", property(lambda turns: False))
        run_again(page)
        page.wait_for_timeout(4000)
        assert len(fusions) == 1
    open_tab(page, "Fusion")
    page.wait_for_selector("#ktb-fusion >> text=X was missing")
    assert len(fusions) == 2


def test_a_pixel_clicked_in_another_tab_is_there_when_the_fusion_tab_opens(page, tmp_path):
    upload(page, *write_pair(tmp_path))
    run(page)
    page.locator("#ktb-stage img.ktb-mask").click(position={"x": 50, "y": 40})
    page.wait_for_selector("#ktb-stage .ktb-mark")
    open_tab(page, "Fusion")
    page.wait_for_selector("#ktb-details .ktb-pixel")
    settle(page)
    assert page.locator("#ktb-pane-photo .ktb-strong").count() == 15


def test_a_pixel_clicked_while_the_fusion_is_being_drawn_stays(page, fusions, monkeypatch):
    begun, draw = threading.Event(), FusionTab.draw

    def slowly(*given):
        found = draw(*given)
        begun.set()
        time.sleep(1.5)
        return found

    monkeypatch.setattr(FusionTab, "draw", slowly)
    open_tab(page, "Fusion")
    run_again(page)
    assert begun.wait(10)
    picture = page.locator("#ktb-pane-photo img.ktb-view")  # of the run before
    picture.click(position={"x": 50, "y": 40})
    page.wait_for_selector("#ktb-fusion >> text=X was missing")
    settle(page)
    assert page.locator("#ktb-details .ktb-pixel").is_visible()
    assert page.locator("#ktb-pane-photo .ktb-strong").count() == 15


def test_a_choice_that_the_list_reports_twice_is_drawn_once(page, drawn, tmp_path):
    upload(page, *write_pair(tmp_path))
    run(page)
    settle(page)
    page.click("#ktb-left input")
    page.get_by_role("option", name="Entropy", exact=True).locator("visible=true").click()
    page.wait_for_selector("#ktb-stage img[alt='entropy']")
    settle(page)
    assert drawn == {"result_panel": 2}


def test_level_maps_are_made_when_looked_at_and_once_for_all_threads(result, monkeypatch):
    calls, make = [], ktb.analysis.maps.level_maps
    monkeypatch.setattr(ktb.analysis.maps, "level_maps", lambda *args: calls.append(args[1]) or make(*args))
    fresh = replace(result, inspection=Inspection(result.prediction))
    result_panel(fresh, "fused", "confidence")
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


def test_tabs_and_downloads_compute_each_level_once(result, monkeypatch):
    calls, make = [], ktb.analysis.maps.level_maps
    monkeypatch.setattr(ktb.analysis.maps, "level_maps", lambda *args: calls.append(args[1]) or make(*args))
    fresh = replace(result, inspection=Inspection(result.prediction))
    result_panel(fresh, "balance")
    for kind in ("npz", "html", "svg"):
        export_file(fresh, kind, {}, {})
    assert sorted(calls) == [0, 1, 2, 3]


def test_maps_are_worked_out_ahead_while_nothing_runs(result, monkeypatch):
    done, make, turns = threading.Event(), ktb.analysis.maps.level_maps, FairScheduler()
    monkeypatch.setattr(precompute, "DELAY_SECONDS", 0.05)
    monkeypatch.setattr(ktb.analysis.maps, "level_maps", lambda *args: done.set() or make(*args))
    busy, free = (replace(result, inspection=Inspection(result.prediction)) for _ in range(2))
    with turns.single():
        precompute_maps(turns, busy)
        assert not done.wait(0.5)
    precompute_maps(turns, free)
    assert done.wait(30)
