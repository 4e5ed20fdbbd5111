"""A real server, killed in mid-run, and the next one; and that its log holds nothing of a visitor's."""

from __future__ import annotations

import json
import shutil
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from helpers.embedded import small_files
from helpers.page.browsing import below
from helpers.page.served import serving
from helpers.pairs import write_pair
from helpers.videos import frames_of, zipped

from tools.bench_page.many_users import server
from tools.bench_page.visitor import Refused, Visitor

SECRET = "geheim"
"""In every name and text that a visitor gives."""


def wait_until(is_true, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def give_secrets(visitor: Visitor, folder: Path) -> None:
    """Good and bad files with secret names, secret texts, and a run."""
    rgb, x = (path.rename(path.with_name(f"{SECRET}_{path.name}")) for path in write_pair(folder))
    bad = folder / f"{SECRET}<b>.npz"
    np.savez(bad, **{SECRET: np.zeros(3)})
    video = folder / f"{SECRET}.mp4"
    video.write_bytes(b"\0\0\0\x18ftypisom" + SECRET.encode() * 100)
    visitor.values[visitor.part("ktb-rgb")] = visitor.upload(rgb)
    visitor.set("ktb-x", [visitor.upload(bad)], "upload")
    assert "ktb-wrong" in visitor.shown("ktb-x-read")
    visitor.set("ktb-x", [visitor.upload(x)], "upload")
    with pytest.raises(Refused):
        visitor.set("ktb-unit", SECRET, "select")
    visitor.set("ktb-unit", "mm", "select")
    visitor.fire("ktb-run")
    visitor.values[visitor.part("ktb-recording")] = visitor.upload(video)
    visitor.fire("ktb-run-frames")
    assert "ktb-wrong" in visitor.shown("ktb-sequence")
    with pytest.raises(Refused):
        visitor.fire("ktb-load-settings", "upload")  # without a file


def fail_unforeseen(visitor: Visitor, uploads: Path) -> None:
    """A file takes the place of the folder of the visitor's downloads, which no handler expects."""
    visitor.fire("ktb-export-make")
    (place,) = below(uploads, "export-*")
    shutil.rmtree(place)
    place.touch()
    with pytest.raises(Refused):
        visitor.fire("ktb-export-make")


def test_a_server_that_is_killed_in_mid_run_leaves_nothing_to_the_next(tmp_path, service, caplog):
    uploads, log = tmp_path / "uploads", tmp_path / "log"
    small = "--model", str(small_files()["ktb-lite-nyuv2-depth"])
    uploads.mkdir()
    with ExitStack() as stack:
        first, address = stack.enter_context(server(uploads, log, "--log-json", *small))
        visitor = Visitor(address)
        give_secrets(visitor, tmp_path)
        fail_unforeseen(visitor, uploads)
        recording = zipped(tmp_path / "long.zip", frames_of(80))
        visitor.values[visitor.part("ktb-recording")] = visitor.upload(recording)
        cut = threading.Thread(target=lambda: run_frames(visitor))
        cut.start()
        wait_until(lambda: below(uploads, "sequence.csv"))
        (folder,) = folders(uploads)
        first.kill()
        first.wait(30)
        cut.join(30)
    assert list(folder.rglob("long.zip"))  # a killed server cannot tidy up
    assert Path(f"{folder}.lock").exists()
    with serving(service, uploads) as next_page:
        assert not folder.exists()
        assert not Path(f"{folder}.lock").exists()
        assert len(folders(uploads)) == 1
        with Visitor(next_page.local_url) as again:
            again.choose_example(0)
            assert "ktb-footer" in again.shown("ktb-foot")
    assert not [record for record in caplog.records if record.exc_info]
    assert_tells_nothing(log.read_text())


def folders(uploads: Path) -> list[Path]:
    """Of servers."""
    return [path for path in uploads.glob("ktb-server-*") if path.is_dir()]


def run_frames(visitor: Visitor) -> None:
    with suppress(httpx.HTTPError, Refused):
        visitor.fire("ktb-run-frames")


def assert_tells_nothing(text: str) -> None:
    """Of the visitor's; and that it tells what an operator needs."""
    assert SECRET not in text.lower()
    lines = [json.loads(line) for line in text.splitlines() if line and not line.startswith("*")]
    assert all({"time", "level", "request", "event"} <= set(line) for line in lines)
    run, *_ = [line for line in lines if line["event"] == "run" and line["image"] == "160x120"]
    # its ablations follow while the network is free
    assert (run["model"], run["x"], run["network"]) == ("ktb-lite-nyuv2-depth", "depth", "192x128")
    assert run["seconds"] > 0
    assert len(run["request"]) == 12
    assert sum(line["event"] == "upload" for line in lines) == 5
    (failed,) = [line for line in lines if "traceback" in line]
    assert failed["level"] == "error"
    assert "app/widgets/downloads.py" in failed["traceback"]
    assert [
        line["outcome"] for line in lines if line["request"] == failed["request"] and "outcome" in line
    ] in (
        [],
        ["failed"],
    )
