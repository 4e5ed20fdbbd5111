"""Uploads and results belong to one open page and go with it."""

from __future__ import annotations

import pytest

from app.sessions import SessionStore


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


def test_results_never_reach_another_session(tmp_path):
    store = SessionStore(tmp_path)
    store.keep_result("a", "result of a")
    assert store.result("a") == "result of a"
    assert store.result("b") is None
    store.close("a")
    assert store.result("a") is None


def test_the_longest_unused_session_goes_when_there_are_too_many(tmp_path, upload):
    store = SessionStore(tmp_path / "gradio", max_sessions=2)
    oldest = upload("oldest.png")
    store.remember_uploads("a", [oldest])
    store.keep_result("b", "b")
    store.result("a")  # used again: b is now the longest unused
    store.keep_result("c", "c")
    assert oldest.exists()
    assert store.result("b") is None
    assert store.result("c") == "c"


def test_old_sessions_are_forgotten(tmp_path, upload, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("app.sessions.time.monotonic", lambda: clock[0])
    store = SessionStore(tmp_path / "gradio", max_age=60)
    old = upload("old.png")
    store.remember_uploads("a", [old])
    clock[0] = 61.0
    store.keep_result("b", "b")
    assert not old.exists()
    assert store.result("a") is None
