"""Uploads and results belong to one open page and go with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.results import Result
from app.server.memory import held_bytes
from app.server.sessions import SessionStore
from ktb.analysis import Inspection

MIB = 2**20


@pytest.fixture
def upload(tmp_path):
    def make(name: str):
        path = tmp_path / "gradio" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"upload")
        return path

    return make


def test_closing_a_session_deletes_its_uploads_and_no_other(tmp_path, upload):
    store = SessionStore(tmp_path / "gradio")
    mine, theirs = upload("mine.png"), upload("theirs.png")
    store.remember_uploads("a", [mine, None])
    store.remember_uploads("b", [str(theirs)])
    store.close("a")
    assert not mine.exists()
    assert theirs.exists()


def test_a_folder_goes_with_the_last_upload_in_it(tmp_path, upload):
    store = SessionStore(tmp_path)  # the uploads lie in a folder below
    first, second = upload("first.png"), upload("second.png")
    store.remember_uploads("a", [first])
    store.remember_uploads("b", [second])
    store.close("a")
    assert second.exists()
    store.close("b")
    assert not second.parent.exists()
    assert tmp_path.exists()


def test_an_upload_that_another_session_shares_stays_until_both_are_closed(tmp_path, upload):
    store = SessionStore(tmp_path / "gradio")
    same = upload("same.png")
    store.remember_uploads("a", [same])
    store.remember_uploads("b", [same])
    store.close("a")
    assert same.exists()
    store.close("b")
    assert not same.exists()


def test_files_outside_the_upload_folder_are_never_deleted(tmp_path, upload):
    store = SessionStore(tmp_path / "gradio")
    outside = tmp_path / "precious.png"
    outside.write_bytes(b"keep")
    link = tmp_path / "gradio" / "link.png"
    upload("x.png")
    link.symlink_to(outside)
    store.remember_uploads("a", [outside, link, tmp_path / "gradio" / ".." / "precious.png"])
    store.close("a")
    assert outside.exists()


def opened(store: SessionStore, session: str, mib: float = 0.0) -> np.ndarray:
    """A session with a result of this size."""
    result = np.zeros(int(mib * MIB), np.uint8)
    store.remember_uploads(session, [])
    store.keep_result(session, result)
    return result


def test_results_never_reach_another_session(tmp_path):
    store = SessionStore(tmp_path)
    mine = opened(store, "a")
    assert store.result("a") is mine
    assert store.result("b") is None
    store.close("a")
    assert store.result("a") is None


def test_a_session_that_was_left_in_mid_run_does_not_come_back(tmp_path):
    store = SessionStore(tmp_path)
    store.remember_uploads("a", [])
    store.close("a")
    store.keep_result("a", np.zeros(MIB, np.uint8))
    assert store.result("a") is None
    assert not store.open_sessions
    assert store.result_mib == 0


def test_the_longest_unused_session_goes_when_there_are_too_many(tmp_path, upload):
    store = SessionStore(tmp_path / "gradio", max_sessions=2)
    oldest = upload("oldest.png")
    store.remember_uploads("a", [oldest])
    opened(store, "b")
    store.result("a")  # used again: b is now the longest unused
    latest = opened(store, "c")
    assert oldest.exists()
    assert store.result("b") is None
    assert store.result("c") is latest
    assert store.open_sessions == {"a", "c"}


def test_all_results_together_stay_within_the_bound(tmp_path, upload):
    store = SessionStore(tmp_path / "gradio", max_mib=4)
    kept = upload("kept.png")
    for number in range(20):
        store.remember_uploads(str(number), [kept])
        opened(store, str(number), mib=1.5)
        assert store.result_mib <= 4
    assert [key for key in map(str, range(20)) if store.result(key) is not None] == ["18", "19"]
    assert len(store.open_sessions) == 20  # only what a run gives again is dropped
    assert kept.exists()


def test_the_longest_unused_result_goes_first_and_the_latest_never(tmp_path):
    store = SessionStore(tmp_path, max_mib=3)
    opened(store, "a", mib=1)
    opened(store, "b", mib=1)
    store.result("a")
    opened(store, "c", mib=1.5)
    assert store.result("b") is None
    assert store.result("a") is not None
    large = opened(store, "a", mib=10)
    assert store.result("a") is large
    assert store.result("c") is None
    assert store.result_mib == 10
    opened(store, "a", mib=1)
    assert store.result_mib == 1


def test_old_sessions_are_forgotten(tmp_path, upload):
    now = [0.0]
    store = SessionStore(tmp_path / "gradio", max_age=60, clock=lambda: now[0])
    old = upload("old.png")
    store.remember_uploads("a", [old])
    now[0] = 59.0
    store.forget_stale()
    assert old.exists()
    now[0] = 61.0
    store.forget_stale()
    assert not old.exists()
    assert store.result("a") is None


def test_what_is_shared_is_weighed_once_and_a_view_with_all_that_it_holds():
    whole = np.zeros(1000, np.float32)
    tensor = torch.zeros(10, 100)
    assert held_bytes([whole, whole]) == 4000
    assert held_bytes({"part": whole[10:20], "again": (whole[:5],)}) == 4000
    assert held_bytes([tensor, tensor[0], tensor.numpy()]) == 4000
    assert held_bytes(["text", 1, None, ()]) == 0


def small_result(mib: float = 1.0) -> Result:
    return Result(np.zeros(int(mib * MIB), np.uint8), "depth image", None, None, None)


def ablate(result: Result, drop: str, mib: float) -> None:
    """Add the result of an ablation of this size, as the page does after a run."""
    result.ablated[drop] = np.zeros(int(mib * MIB), np.uint8)


def test_ablations_and_maps_that_a_result_keeps_are_weighed():
    result = small_result()
    ablate(result, "x", 0.25)
    assert held_bytes(result) == 1.25 * MIB

    class Looked(Inspection):
        def __init__(self):
            self.prediction, self._maps = None, {0: [np.zeros(MIB, np.uint8)], 2: [np.zeros(MIB, np.uint8)]}

    assert held_bytes(Looked()) == 2 * MIB


def test_what_a_result_gained_counts_when_it_is_used_again(tmp_path):
    store = SessionStore(tmp_path, max_mib=4)
    results = {session: small_result() for session in "abc"}
    for session, result in results.items():
        store.remember_uploads(session, [])
        store.keep_result(session, result)
    assert store.result_mib == 3
    ablate(results["c"], "x", 1.5)
    assert store.result("c") is results["c"]
    assert store.result("a") is None  # the longest unused made room
    assert store.result("b") is results["b"]
    assert store.result_mib == 3.5


def test_what_all_results_gained_counts_when_the_house_is_tidied(tmp_path):
    store = SessionStore(tmp_path, max_mib=4)
    results = {session: small_result() for session in "abc"}
    for session, result in results.items():
        store.remember_uploads(session, [])
        store.keep_result(session, result)
        ablate(result, "x", 0.5)
    store.recount()
    assert [session for session in "abc" if store.result(session) is not None] == ["b", "c"]
