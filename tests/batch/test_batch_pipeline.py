"""Groups of pairs of one size, and what may wait: results are those of single pairs, memory is bounded."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.batches import batch, pairs_of, records, text_steps
from PIL import Image

import ktb.batch.prefetch
from ktb.batch.prefetch import Prefetcher
from ktb.batch.runner import Running, run_batch
from ktb.inference.predictor import Predictor

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_batch_gives_what_single_pairs_give(data, model, calls, monkeypatch):
    groups, original = [], Predictor.run

    def grouped(self, pairs):
        groups.append([pair.size_hw for pair in pairs])
        return original(self, pairs)

    monkeypatch.setattr(Predictor, "run", grouped)
    photo = Image.open(data / "rgb/a.png")
    photo.rotate(90, expand=True).save(data / "rgb/b.jpg")  # another size between the others
    np.save(data / "x/b.npy", np.load(data / "x/b.npy").T)
    assert batch(data, model, out="single").exit_code == 0
    assert [len(group) for group in groups] == [1, 1, 1, 1]
    groups.clear()
    assert batch(data, model, "--batch-size", 3, out="many").exit_code == 0
    assert groups == [[(80, 120)] * 3, [(120, 80)]]
    for name, record in records(data / "many").items():
        one, several = (
            np.asarray(Image.open(data / out / record["files"]["labels"])) for out in ("single", "many")
        )
        assert np.mean(one != several) <= 0.001, name
    assert records(data / "many").keys() == records(data / "single").keys()


def test_the_size_of_the_batch_is_no_reason_to_do_it_again(data, model, calls):
    assert batch(data, model).exit_code == 0
    calls.clear()
    assert batch(data, model, "--batch-size", 2).exit_code == 0
    assert calls == []


def test_groups_hold_one_kind_and_leave_nothing_out(tmp_path):
    groups = []

    def compute(texts):
        groups.append([int(text) for text in texts])
        return texts

    steps = text_steps(compute=compute, kind=lambda text: int(text) % 2)
    outcome = run_batch(pairs_of(tmp_path, 12), tmp_path / "out", steps, {}, Running(workers=3, batch_size=3))
    assert len(outcome.records) == 12
    assert all(record["status"] == "done" for record in outcome.records)
    assert sorted(number for group in groups for number in group) == list(range(12))
    assert all(len({number % 2 for number in group}) == 1 for group in groups)
    assert max(map(len, groups)) == 3


def test_one_that_fails_in_a_group_does_not_take_the_others_along(tmp_path):
    def compute(texts):
        if "4" in texts:
            raise ZeroDivisionError("made up")
        return texts

    steps = text_steps(compute=compute)
    outcome = run_batch(pairs_of(tmp_path, 8), tmp_path / "out", steps, {}, Running(batch_size=4))
    assert [record["name"] for record in outcome.failed] == ["04"]
    assert len(list((tmp_path / "out").glob("*.out"))) == 7


def test_heavy_pairs_do_not_fill_the_memory(tmp_path, monkeypatch):
    """A reader that is faster than the network: what waits has room in the bound."""
    monkeypatch.setattr(ktb.batch.prefetch, "MAX_WAITING_BYTES", 300)
    alive, most, lock = [0], [0], threading.Lock()

    def count(by):
        with lock:
            alive[0] += by
            most[0] = max(most[0], alive[0])

    def read(pair):
        count(+1)
        return pair.x[0].read_text()

    def compute(texts):
        time.sleep(0.002)
        return texts

    def pack(pair, text):
        count(-1)
        return original(pair, text)

    original = text_steps().pack
    steps = text_steps(read=read, compute=compute, pack=pack, weigh=lambda text: 100)
    running = Running(workers=8, batch_size=8)
    outcome = run_batch(pairs_of(tmp_path, 40), tmp_path / "out", steps, {}, running)
    assert len(outcome.records) == 40
    assert 1 < most[0] <= 3 + 1 + 3  # read ahead, in the network's hands, behind it


def test_something_heavier_than_the_bound_goes_alone():
    with ThreadPoolExecutor(4) as pool:
        ahead = Prefetcher(pool, lambda item: item, range(5), 4, lambda item: 2**40)
        assert [ahead.take(4, lambda item: 0) for _ in range(6)] == [[0], [1], [2], [3], [4], []]


def test_what_was_passed_over_comes_next():
    with ThreadPoolExecutor(4) as pool:
        ahead = Prefetcher(pool, lambda item: item, "abABcCd", 20, lambda item: 1)
        groups = [ahead.take(3, str.isupper) for _ in range(4)]
    assert groups == [["a", "b", "c"], ["A", "B", "C"], ["d"], []]


def test_the_end_says_how_busy_the_network_was(data, model):
    result = batch(data, model)
    assert "the network was busy" in result.stdout


def test_tiles_are_a_flag(data, model):
    assert batch(data, model, "--tile", "none", out="a").exit_code == 0
    assert batch(data, model, "--tile", 256, "--short-side", 288, out="b").exit_code == 0
    assert records(data / "b")["a"]["prediction"]["network_size"]["height"] == 288
    for wrong, message in (("big", "give auto, none, or pixels"), ("100", "give at least 256")):
        result = batch(data, model, "--tile", wrong, out="c")
        assert result.exit_code == 2
        assert message in result.stderr
