"""Every reader on thousands of damaged files, in a process of its own, so that a crash is seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktb.inputs import InputError
from tools.fuzz import fuzz_damage, fuzz_readers

READERS = fuzz_readers.readers()
CASES = max(2000, 40 * len(READERS))
"""A number, not a time: a slow machine sees as many as a fast one."""

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    """What the worker found; a crash or a hang fails here, with the case that was in progress."""
    progress = tmp_path_factory.mktemp("fuzz") / "case"
    command = [sys.executable, "-m", "tools.fuzz.fuzz_readers", "--seconds", "500", "--cases", str(CASES)]
    result = subprocess.run(
        [*command, "--progress", str(progress)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,  # generous: the machine may be busy, and single cases are timed by processor time
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    case = progress.read_text().strip() if progress.exists() else "none"
    assert result.returncode in (0, 1), f"ended with {result.returncode} in {case}: {result.stderr[-2000:]}"
    return json.loads(result.stdout)


def test_only_input_errors_come_out_and_soon_and_in_little_memory(report):
    """Exceptions of other types, cases over 2 s and growth over 1 GiB are failures of the worker."""
    assert report["failures"] == []
    assert report["grown_mib"] < 1024
    assert max(count["slowest_s"] for count in report["readers"].values()) <= fuzz_readers.MAX_CASE_SECONDS


def test_every_reader_saw_enough_and_took_both_ways(report):
    assert report["cases"] == CASES
    for name, count in report["readers"].items():
        assert count["accepted"] + count["refused"] >= 20, name
        assert count["accepted"] >= 1, f"{name} took not even its undamaged seeds"
        assert count["refused"] >= 1, f"{name} refused nothing"


def test_every_format_is_among_the_readers():
    names = set(fuzz_readers.readers())
    formats = {"png", "png 16", "jpeg", "tiff", "webp", "bmp", "pnm", "gif"}
    assert formats | {f"{name} photo" for name in formats} <= names
    assert {
        "npy",
        "npy events",
        "npz",
        "npz member",
        "txt",
        "csv",
        "four angles",
        "options",
        "encode",
    } <= names
    for module, name in (("OpenEXR", "exr"), ("h5py", "h5")):
        assert (name in names) == bool(find_spec(module)), name


def test_the_same_case_damages_alike_and_the_cases_differ():
    seed = bytes(range(256)) * 4
    first, again = (fuzz_readers.damage(seed, [seed], False, np.random.default_rng(5)) for _ in range(2))
    assert first == again
    others = {fuzz_readers.damage(seed, [seed], False, np.random.default_rng(i)) for i in range(100)}
    assert len(others) > 90


def test_the_worker_sees_what_must_not_happen(monkeypatch, capsys):
    """A reader that fails in another way, and one that takes long, are reported."""

    def careless(data, rng):
        if data != bytes(100):
            raise KeyError("header")
        raise InputError("x: damaged beyond repair; save it again")

    def slow(data, rng):
        sum(range(1_000_000))

    found = {
        "careless": fuzz_readers.Reader([bytes(100)], careless),
        "slow": fuzz_readers.Reader([b"1"], slow),
    }
    monkeypatch.setattr(fuzz_readers, "readers", lambda: found)
    monkeypatch.setattr(fuzz_readers, "MAX_CASE_SECONDS", 0.001)
    monkeypatch.setattr(sys, "argv", ["fuzz_readers.py", "--seconds", "1"])
    assert fuzz_readers.main() == 1
    failures = json.loads(capsys.readouterr().out)["failures"]
    assert any("KeyError: 'header'" in failure["trouble"] for failure in failures)
    assert any("took " in failure["trouble"] for failure in failures)


def test_cases_that_cannot_be_made_are_counted_and_the_others_go_on(monkeypatch, capsys):
    def make(rng):
        if rng.random() < 0.5:
            raise KeyError("of the maker")
        return b"data"

    found = {"half": fuzz_readers.Reader([b""], lambda data, rng: None, make=make)}
    monkeypatch.setattr(fuzz_readers, "structured_readers", lambda: found)
    monkeypatch.setattr(sys, "argv", ["fuzz_readers.py", "--structures", "--seconds", "5", "--cases", "20"])
    assert fuzz_readers.main() == 0
    report = json.loads(capsys.readouterr().out)
    assert report["readers"]["half"]["accepted"] == report["cases"] == 20
    assert report["readers"]["half"]["unmade"] > 0


def edited(seed: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """A seed in which, at shares of its length, some bytes are cut out and others put in."""
    data = bytearray(seed)
    for share, cut, put in edits:
        place = int(share * len(data))
        data[place : place + cut] = put
    return bytes(data)


@given(
    name=st.sampled_from([name for name, reader in READERS.items() if reader.seeds != [b""]]),
    number=st.integers(0, 20),
    edits=st.lists(
        st.tuples(
            st.floats(0, 1),
            st.sampled_from([0, 1, 2, 4, 8, 10_000]),
            st.one_of(st.binary(max_size=8), st.sampled_from(fuzz_damage.TOKENS)),
        ),
        max_size=4,
    ),
    choices=st.integers(0, 2**32 - 1),
)
@settings(
    max_examples=1000,
    deadline=None,  # by the wall clock, which a busy machine spoils
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_hypothesis_finds_no_file_that_does_harm(name, number, edits, choices):
    """What fails here is the smallest file that does: InputError alone may come out, within 2 seconds."""
    reader = READERS[name]
    data = reader.wrap(edited(reader.seeds[number % len(reader.seeds)], edits))
    begun, said = time.process_time(), "accepted, and encoded"
    try:
        reader.feed(data, np.random.default_rng(choices))
    except InputError as error:
        said = str(error)
    assert 10 <= len(said) < 1500
    assert time.process_time() - begun <= fuzz_readers.MAX_CASE_SECONDS
