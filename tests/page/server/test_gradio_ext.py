"""Every private name and signature of Gradio that a promise needs: what moves fails here, not silently."""

from __future__ import annotations

import ast
import inspect
from abc import ABCMeta
from datetime import datetime
from pathlib import Path

import gradio as gr
import pytest
from gradio import data_classes, exceptions, queueing, route_utils, routes
from gradio.blocks import Block, BlockFunction, Blocks
from gradio.route_utils import GradioMultiPartParser, MultiPartException
from gradio.state_holder import SessionState, StateHolder
from gradio_client.utils import is_http_url_like
from packaging.requirements import Requirement
from packaging.version import Version
from starlette.applications import Starlette

from app.gradio_ext.blocks import Page

ROOT = Path(__file__).resolve().parents[3]


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_version_is_the_one_that_this_was_written_for():
    (bound,) = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if "gradio" in line]
    assert Requirement(bound).specifier.contains(Version(gr.__version__))
    assert str(Requirement(bound).specifier) == "<6.32,>=6.31"


@pytest.mark.parametrize("name", ["process_api", "preprocess_data", "launch"])
def test_what_the_page_overrides_is_there(name):
    """Both ends: Gradio has the method, and the page has not inherited it."""
    assert name in vars(Blocks)
    assert name in vars(Page)


def test_what_gradio_calls_with():
    assert parameters(Blocks.preprocess_data) == ["self", "block_fn", "inputs", "state", "explicit_call"]
    assert parameters(Page.preprocess_data) == parameters(Blocks.preprocess_data)
    given = parameters(Blocks.process_api)
    assert given[1:3] == ["block_fn", "inputs"]
    assert {"request", "iterator", "session_hash", "event_data", "state"} <= set(given)
    assert inspect.iscoroutinefunction(Blocks.process_api)
    assert inspect.iscoroutinefunction(Blocks.preprocess_data)


@pytest.mark.parametrize(
    ("place", "called"),
    [(route_utils.call_process_api, ".process_api("), (Blocks.process_api, "self.preprocess_data(")],
)
def test_gradio_still_calls_what_is_overridden(place, called):
    assert called in inspect.getsource(place)


def test_every_way_in_goes_through_them():
    for place in (routes.App.create_app, queueing.Queue):
        source = inspect.getsource(place)
        assert "call_process_api(" in source
        assert ".process_api(" not in source.replace("call_process_api(", "")


def test_a_block_function_tells_what_it_takes():
    for name in ("fn", "inputs", "queue", "api_name", "api_visibility", "concurrency_id", "_id"):
        assert name in inspect.getsource(BlockFunction.__init__), name


def test_a_session_gives_its_own_components():
    assert parameters(SessionState.__getitem__) == ["self", "key"]
    assert parameters(SessionState.__contains__) == ["self", "key"]


def test_what_is_forgotten_of_sessions():
    holder = StateHolder()
    assert holder.session_data == {}
    assert holder.time_last_used == {}
    holder.set_blocks(Blocks())
    assert isinstance(holder["a"], SessionState)
    assert isinstance(holder.time_last_used["a"], datetime)


def test_what_lean_sessions_leave_out():
    """`config_values` is for saved states alone, whose address is shut."""
    assert parameters(SessionState) == ["blocks"]
    for name in ("_update_config", "_update_value_in_config"):
        assert name in vars(SessionState), name
    assert "blocks.default_config" in inspect.getsource(SessionState.__init__)
    users = [part for part in inspect.getsource(SessionState).split("def ") if "config_values" in part]
    known = {"__init__", "__setitem__", "_update_config", "_update_value_in_config", "components"}
    assert {part.split("(")[0] for part in users} == known
    assert inspect.getsource(routes.App.create_app).count("].components") == 1  # in deep_link


def test_what_the_queue_and_a_page_keep():
    with Blocks() as page:
        assert gr.context.Context.root_block is page
    assert page._queue.pending_event_ids_session == {}
    assert isinstance(page.temp_file_sets, list)
    assert page.api_open in (True, False)
    assert isinstance(page.GRADIO_CACHE, str)
    assert page.fns == {}
    assert "api_open" in inspect.getsource(routes.App.create_app)


def test_what_the_fair_queue_builds_on():
    given = ["live_updates", "concurrency_count", "update_intervals", "max_size", "blocks"]
    assert parameters(queueing.Queue.__init__)[1:] == [*given, "default_concurrency_limit"]
    assert parameters(queueing.Queue.push) == ["self", "body", "request", "username"]
    assert parameters(queueing.Queue.process_events)[:4] == ["self", "events", "batch", "begin_time"]
    assert parameters(queueing.Queue.send_message) == ["self", "event", "event_message"]
    queue = Blocks().queue()._queue
    for name in (
        "event_queue_per_concurrency_id", "event_ids_to_events", "pending_messages_per_session",
        "pending_event_ids_session", "process_time_per_fn", "broadcast_estimations", "max_thread_count",
    ):  # fmt: skip
        assert hasattr(queue, name), name
    source = inspect.getsource(queueing.Event.__init__) + inspect.getsource(queueing.EventQueue.__init__)
    for name in ("session_hash", "_id", "alive", "enqueue_time", "concurrency_id", "self.queue"):
        assert name in source, name
    assert ".push(" in inspect.getsource(routes.App.create_app)


def test_what_the_way_in_for_files_uses():
    given = ["max_files", "max_fields", "upload_dir", "upload_id", "upload_progress", "max_file_size"]
    assert parameters(GradioMultiPartParser)[:8] == ["headers", "stream", *given]
    assert parameters(GradioMultiPartParser.on_part_data) == ["self", "data", "start", "end"]
    source = inspect.getsource(GradioMultiPartParser)
    for name in ('"on_part_data": self.on_part_data', "_current_part", "_files_to_close_on_error"):
        assert name in source, name
    statuses = routes.file_upload_statuses
    for name in ("track", "set_done", "stop_tracking", "_statuses", "_signals"):
        assert hasattr(statuses, name), name
    assert "Too many files" in source
    assert issubclass(MultiPartException, Exception)
    assert "File size" in inspect.getsource(GradioMultiPartParser)


def test_components_that_hand_over_files():
    lists = {"FileData", "ListFiles"}
    for kind, models in ((gr.Image, {"ImageData"}), (gr.File, lists), (gr.UploadButton, lists)):
        assert issubclass(type(kind), ABCMeta)
        assert parameters(kind.preprocess) == ["self", "payload"]
        assert all(hasattr(data_classes, name) for name in models)
    assert "block.preprocess" in inspect.getsource(Blocks.preprocess_data)


def test_what_is_served_in_place_stands_on_one_list():
    assert isinstance(data_classes._StaticFiles.all_paths, list)


def test_events_tell_what_was_selected():
    told = gr.EventData(None, {"index": 1})
    assert told._data == {"index": 1}
    assert "prepare_event_data(" in inspect.getsource(route_utils.call_process_api)


def test_errors_and_their_kinds():
    assert issubclass(exceptions.InvalidPathError, ValueError)
    assert issubclass(exceptions.ComponentProcessingError, Exception)
    assert is_http_url_like("https://x")
    assert "show_error" in inspect.getsource(routes.App.create_app)


def test_the_server_can_be_guarded_from_outside():
    """`Gate.before` stands before what Gradio adds; it is there when the lifespan begins."""
    assert "middleware_stack" in inspect.getsource(Starlette.__call__)
    assert "lifespan" in inspect.getsource(routes.App.create_app)
    assert hasattr(routes.App, "get_blocks")


def test_blocks_have_what_the_page_sets():
    ours = {"store", "service", "folder", "asked_at", "probe_event", "failures", "uploads"}
    assert not [name for name in ours if hasattr(Blocks, name) or hasattr(Block, name)]


PRIVATE = {
    "_queue", "state_holder", "temp_file_sets", "session_data", "time_last_used", "file_upload_statuses",
    "upload_fn", "root_block", "api_open", "pending_event_ids_session", "middleware_stack", "preprocess_data",
    "process_api", "ABCMeta", "route_utils",
}  # fmt: skip
"""Names that nothing outside `app/gradio_ext` uses."""


@pytest.mark.parametrize(
    "file", sorted((ROOT / "app").rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT / "app"))
)
def test_private_names_stand_in_one_folder(file):
    if file.parent.name == "gradio_ext":
        return
    tree = ast.parse(file.read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    used |= {
        (node.module or "").split(".")[-1] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    assert not used & PRIVATE
