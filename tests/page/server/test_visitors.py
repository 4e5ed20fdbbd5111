"""Several visitors at once: nobody's slow job holds up another's controls, and nothing stays of who left."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace

import httpx
import pytest
from helpers.embedded import small_service
from helpers.page.browsing import WAIT
from helpers.page.loops import in_a_loop
from helpers.videos import frames_of, zipped

from app.gradio_ext import state
from app.page import build_page, launch_options
from app.panels.ground_truth import NO_TRUTH
from app.predictors import SharedPredictor
from app.server import housekeeping
from app.server.housekeeping import wait_until_quiet
from tools.bench_page.visitor import Refused, Visitor

LONG = 60.0  # seconds; what never ends within it is held up
WAITING = 3  # events, at most


@pytest.fixture(scope="module")
def page(service, own_uploads):
    environment = pytest.MonkeyPatch()
    environment.setenv("GRADIO_TEMP_DIR", str(own_uploads))
    environment.setattr(housekeeping, "TIDY_EVERY", 0.1)
    environment.setattr(service, "warm_up", lambda: None)  # it would take the network's turn
    page = build_page(service, opens_on_example=False, ablates=False)
    page.queue(max_size=WAITING).launch(prevent_thread_lock=True, quiet=True, **launch_options())
    yield page
    page.close()
    environment.undo()


@pytest.fixture
def visitors(page):
    """A function that opens a page, from an address of this machine if given; all are left at the end."""
    opened: list[Visitor] = []

    def open_page(source: str | None = None) -> Visitor:
        opened.append(Visitor(page.local_url, source=source))
        return opened[-1]

    yield open_page
    for visitor in opened:
        visitor.leave()


@pytest.fixture
def busy(service):
    """The network is taken, as by somebody's slow job, until this is set."""
    taken, free = threading.Event(), threading.Event()

    def hold() -> None:
        with service.scheduler.single():
            taken.set()
            free.wait(LONG)

    (thread,) = in_threads(hold)
    assert taken.wait(LONG)
    yield free
    free.set()
    thread.join()


def wait_until(is_true: Callable[[], bool], seconds: float = LONG) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def in_threads(*jobs: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


def test_nothing_stays_of_visitors_who_left(page, visitors, monkeypatch):
    results = {}
    keep = page.store.keep_result

    def watched(session, result):
        results[session] = weakref.ref(result)
        keep(session, result)

    monkeypatch.setattr(page.store, "keep_result", watched)
    here = [visitors() for _ in range(2)]
    for number, visitor in enumerate(here):
        visitor.choose_example(number)
        assert "ktb-footer" in visitor.shown("ktb-foot")
    stays, leaves = here
    assert page.store.open_sessions == {visitor.session for visitor in here}
    each = page.store.result_mib / 2
    assert 10 < each < 60  # 22 MiB at 480 × 640, and the ablations
    leaves.leave()
    wait_until(lambda: page.store.open_sessions == {stays.session})
    assert page.store.result_mib == pytest.approx(each, rel=0.2)
    monkeypatch.setattr(state, "IDLE", timedelta(0))
    wait_until(lambda: set(page.state_holder.session_data) == {stays.session})
    wait_until(lambda: gc.collect() >= 0 and [ref() is None for ref in results.values()] == [False, True])
    stays.set("ktb-off", "x")  # has lost nothing
    assert "X ablated" in stays.shown("ktb-what-if")


def test_a_run_that_ends_after_its_visitor_left_keeps_nothing(page, visitors, busy, service, monkeypatch):
    ended = threading.Event()
    segment = page.service.segment

    def watched(*args, **kwargs):
        result = segment(*args, **kwargs)
        ended.set()
        return result

    monkeypatch.setattr(page.service, "segment", watched)
    visitor = visitors()

    def run() -> None:
        with suppress(httpx.HTTPError):  # its connection is cut
            visitor.choose_example(0)

    in_threads(run)
    wait_until(lambda: visitor.session in page.store.open_sessions and service.scheduler.waiting == 1)
    visitor.leave()
    wait_until(lambda: visitor.session not in page.store.open_sessions)
    busy.set()
    assert ended.wait(LONG)
    time.sleep(0.5)
    assert visitor.session not in page.store.open_sessions
    assert page.store.result(visitor.session) is None


def test_what_gradio_keeps_of_a_call_without_a_page_goes_too(page, monkeypatch):
    caller = Visitor(page.local_url, stays=False)  # never tells that it is gone
    caller.fire("ktb-share")
    caller.leave()
    assert caller.session in page.state_holder.session_data
    monkeypatch.setattr(state, "IDLE", timedelta(0))
    wait_until(lambda: caller.session not in page.state_holder.session_data)


def test_an_hour_later_all_is_forgotten_though_nobody_comes(page, visitors, monkeypatch):
    visitor = visitors()
    visitor.choose_example(0)
    assert page.store.open_sessions
    with monkeypatch.context() as later:
        now = time.monotonic()
        later.setattr(page.store, "_clock", lambda: now + 3601)
        wait_until(lambda: not page.store.open_sessions)
    assert page.store.result_mib == 0
    with pytest.raises(Refused, match="Run a pair first"):
        visitor.set("ktb-off", "x")
    visitor.fire("ktb-run")
    visitor.set("ktb-off", "x")  # as before


def test_x_is_read_while_the_network_is_busy(visitors, service):
    one, other = visitors(), visitors()
    one.choose_example(0)
    with service.scheduler.single():
        waiting = in_threads(lambda: other.choose_example(1))
        one.set("ktb-unit", "0.1mm", "select")
        assert "tenths of a millimetre (certain)" in one.shown("ktb-x-read")
        assert waiting[0].is_alive()
    waiting[0].join(LONG)
    assert "ktb-footer" in other.shown("ktb-foot")


def test_one_control_serves_several_visitors_at_the_same_time(visitors, page, monkeypatch):
    here = [visitors(f"127.0.0.{number}") for number in range(2, 10)]
    here[0].choose_example(0)
    result = page.store.result(here[0].session)
    for visitor in here[1:]:
        page.store.remember_uploads(visitor.session, [])
        page.store.keep_result(visitor.session, result)
    together, ask = threading.Barrier(len(here), timeout=LONG), page.store.result

    def meet(session: str):
        together.wait()  # raises, unless all get here
        return ask(session)

    monkeypatch.setattr(page.store, "result", meet)
    threads = in_threads(*(lambda v=v: v.set("ktb-truth-numbering", "stored") for v in here))
    for thread in threads:
        thread.join(LONG)
    assert not together.broken
    assert {visitor.shown("ktb-truth") for visitor in here} == {NO_TRUTH}


def test_who_waits_sees_the_place_in_the_queue(browser, visitors, page, busy, tmp_path):
    recording = zipped(tmp_path / "two.zip", frames_of(2))
    runner, recorder = visitors(), visitors()
    recorder.values[recorder.part("ktb-recording")] = recorder.upload(recording)
    jobs = in_threads(lambda: runner.choose_example(0), lambda: recorder.fire("ktb-run-frames"))
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    tab.set_default_timeout(WAIT)
    tab.goto(page.local_url, wait_until="domcontentloaded")
    tab.locator("#ktb-examples button.thumbnail-item").first.click()
    tab.wait_for_selector("#ktb-waiting >> text=queue: 1/1")
    tab.get_by_role("tab", name="Evaluate").first.click()
    tab.get_by_role("tab", name="Video").first.click()
    tab.set_input_files("#ktb-recording input[type=file]", str(recording))
    tab.wait_for_selector("#ktb-recording >> text=two")
    tab.click("#ktb-run-frames")
    tab.wait_for_selector("#ktb-sequence >> text=queue: 1/1")
    tab.close()
    busy.set()
    for job in jobs:
        job.join(LONG)


def test_beyond_the_queue_a_visitor_is_asked_to_try_again(browser, visitors, page, busy, service):
    runs, *crowd = [visitors() for _ in range(WAITING + 1)]
    jobs = in_threads(lambda: runs.choose_example(0))
    wait_until(lambda: service.scheduler.waiting == 1)

    def run_nothing(visitor: Visitor) -> None:
        with pytest.raises(Refused, match="RGB image is missing"):
            visitor.fire("ktb-run")

    jobs += in_threads(*(lambda v=v: run_nothing(v) for v in crowd))
    wait_until(lambda: len(page._queue) == WAITING)
    tab = browser.new_page()
    tab.set_default_timeout(WAIT)
    tab.goto(page.local_url, wait_until="domcontentloaded")
    tab.locator("#ktb-examples button.thumbnail-item").first.click()
    tab.wait_for_selector(".toast-body >> text=currently busy. Please try again")
    busy.set()
    for job in jobs:
        job.join(LONG)
    tab.close()


@pytest.mark.parametrize(
    ("asked", "begins"),
    [([], 1.0), ([0.5, 0.9, 1.7], 2.7), ([0.5, 1.6], 1.5), ([0.9 * n for n in range(1, 100)], 15.0)],
    ids=["nobody", "a page is opened", "one request, another too late", "requests without end"],
)
def test_the_first_run_waits_until_nobody_opens_the_page_but_not_for_ever(asked, begins):
    page, clock = SimpleNamespace(asked_at=0.0), SimpleNamespace(now=0.0)

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        page.asked_at = max([0.0, *(at for at in asked if at <= clock.now)])

    in_a_loop(lambda: wait_until_quiet(page, lambda: clock.now, sleep))
    assert clock.now == pytest.approx(begins)


def test_a_request_puts_off_the_first_run(page):
    before = time.monotonic()
    httpx.get(f"{page.local_url}healthz")
    assert page.asked_at >= before


@pytest.mark.parametrize("breaks", [False, True])
def test_the_first_model_is_run_before_anybody_comes(breaks, monkeypatch, caplog):
    monkeypatch.setattr(housekeeping, "WARM_UP_AFTER", 0.0)
    service, ran = small_service(), []
    predict = SharedPredictor.__call__

    def watched(self, rgb, x, **options):
        ran.append((self.model.config.name, rgb.shape))
        if breaks:
            raise RuntimeError("no network today")
        return predict(self, rgb, x, **options)

    monkeypatch.setattr(SharedPredictor, "__call__", watched)
    page = build_page(service, opens_on_example=False, ablates=False)
    _, address, _ = page.queue().launch(prevent_thread_lock=True, quiet=True, **launch_options())
    try:
        wait_until(lambda: ran == [(service.models[0], (480, 640, 3))])
        if breaks:
            wait_until(lambda: "no network today" in caplog.text)
        assert httpx.get(address).status_code == httpx.codes.OK
    finally:
        page.close()
