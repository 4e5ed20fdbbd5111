"""Files that are served in place: none stays on Gradio's list of the process after the page that needs it."""

from __future__ import annotations

from gradio.data_classes import _StaticFiles
from gradio.utils import is_static_file

from app.gradio_ext.static_files import serve_in_place
from app.page import build_page, launch_options
from app.service import Service
from app.widgets.examples import EXAMPLES_FOLDER


def test_gradio_has_the_list_that_files_are_taken_off():
    assert isinstance(_StaticFiles.all_paths, list)


def test_files_stay_on_the_list_as_long_as_somebody_needs_them(tmp_path):
    folder, alone = tmp_path / "pairs", tmp_path / "alone.png"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"")
    alone.write_bytes(b"")
    before = list(_StaticFiles.all_paths)
    first, second = serve_in_place([folder, alone]), serve_in_place([folder])
    assert is_static_file(folder / "a.png")
    assert is_static_file(alone)
    first()
    first()
    assert is_static_file(folder / "a.png")
    assert not is_static_file(alone)
    second()
    assert _StaticFiles.all_paths == before


def test_a_page_takes_its_files_off_the_list_when_its_server_ends(monkeypatch):
    before = list(_StaticFiles.all_paths)
    page = build_page(Service())
    monkeypatch.setattr(page.service, "warm_up", lambda: None)
    page.queue().launch(prevent_thread_lock=True, quiet=True, **launch_options())
    assert EXAMPLES_FOLDER.resolve() in _StaticFiles.all_paths
    page.close()
    assert _StaticFiles.all_paths == before
