"""Several processes share the pairs of a folder: shares, lists of results that are merged, a killed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.batches import contents, pairs_of, records, run, text_steps

import ktb.batch.journal
from ktb.batch.journal import open_journal
from ktb.batch.runner import Running, run_batch
from ktb.utils.distributed import Rank, device_of, rank_of
from ktb.utils.lock import FileLock

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parents[2]


def variables(index: int, count: int) -> dict[str, str]:
    """What torchrun and `accelerate launch` set."""
    return {"RANK": str(index), "WORLD_SIZE": str(count), "LOCAL_RANK": str(index)}


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_all_of_it_once(count):
    shares = [Rank(index, count).share(range(20)) for index in range(count)]
    assert sorted(item for share in shares for item in share) == list(range(20))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_launcher_says_who_this_is():
    assert rank_of({}) == Rank(0, 1, 0)
    assert rank_of({"RANK": "5"}) == Rank()
    assert rank_of({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}) == Rank(5, 8, 1)
    for wrong in ({"RANK": "x", "WORLD_SIZE": "2"}, {"RANK": "2", "WORLD_SIZE": "2"}):
        with pytest.raises(ValueError, match="launcher's variables are not usable"):
            rank_of(wrong)


def test_each_process_has_a_card_of_its_own(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert device_of(Rank(), {}) == "auto"
    assert device_of(Rank(), {"ACCELERATE_USE_CPU": "True"}) == "cpu"
    assert device_of(Rank(3, 4, 1), {}) == "cuda:1"
    assert device_of(Rank(3, 4, 1), {"ACCELERATE_USE_CPU": "True"}) == "cpu"
    with pytest.raises(ValueError, match=r"no GPU of its own \(2 are available\)"):
        device_of(Rank(2, 4, 2), {})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert device_of(Rank(3, 4, 1), {}) == "cpu"


def test_a_lock_is_held_by_one_and_ends_with_its_holder(tmp_path):
    one, two = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert one.acquire(wait=False)
    assert not two.acquire(wait=False)
    one.release()
    assert two.acquire(wait=False)
    two.release()
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from pathlib import Path;"
         "from ktb.utils.lock import FileLock; lock = FileLock(Path(sys.argv[1])); lock.acquire();"
         "print(1, flush=True); time.sleep(60)",
         str(tmp_path / "lock")], cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout.readline() == "1\n"
    assert not one.acquire(wait=False)
    holder.kill()
    holder.wait()
    assert one.acquire(wait=False)
    one.release()


def test_two_ranks_merge_into_one_list(tmp_path):
    pairs, out = pairs_of(tmp_path, 9), tmp_path / "out"
    for index in (1, 0):
        outcome = run_batch(pairs, out, text_steps(), {}, Running(rank=Rank(index, 2)))
        assert [record["name"] for record in outcome.records] == [pair.name for pair in pairs[index::2]]
    assert sorted(records(out)) == [pair.name for pair in pairs]
    assert visible(out) == {"results.jsonl", "run.json", *(f"{pair.name}.out" for pair in pairs)}
    assert run_batch(pairs, out, text_steps(), {}).skipped == 9


@pytest.mark.parametrize("again", [1, 2, 3])
def test_what_a_killed_rank_did_is_kept_by_any_number_of_others(tmp_path, again, monkeypatch):
    pairs, out = pairs_of(tmp_path, 12), tmp_path / "out"
    done = []

    def compute(texts):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.extend(texts)
        return texts

    with monkeypatch.context() as patch:  # killed: nothing is merged, and its lock is gone
        take_over = ktb.batch.journal._take_over
        calls = iter([take_over, lambda folder: {}])
        patch.setattr(ktb.batch.journal, "_take_over", lambda folder: next(calls)(folder))
        with pytest.raises(KeyboardInterrupt):
            run_batch(pairs, out, text_steps(compute=compute), {}, Running(rank=Rank(0, 2)))
    assert "results.rank-0.jsonl" in visible(out)
    redone = []

    def count(texts):
        redone.extend(texts)
        return texts

    for index in range(again):
        run_batch(pairs, out, text_steps(compute=count), {}, Running(rank=Rank(index, again)))
    kept = 12 - len(redone)
    assert 1 <= kept <= 4
    assert not set(redone) & {str(2 * n) for n in range(kept)}
    assert sorted(records(out)) == [pair.name for pair in pairs]
    assert not [name for name in visible(out) if name.startswith("results.rank")]


def test_a_rank_that_is_at_work_is_left_alone(tmp_path):
    with open_journal(tmp_path, Rank(0, 2)) as first:
        first.add({"name": "a", "status": "done"})
        with open_journal(tmp_path, Rank(1, 2)) as second:
            assert "a" not in second.records
            second.add({"name": "b", "status": "done"})
        assert sorted(records(tmp_path)) == ["b"]
        again = open_journal(tmp_path, Rank(0, 2))
        with pytest.raises(ValueError, match=r"another process is writing to .* as number 0"):
            again.__enter__()
    assert sorted(records(tmp_path)) == ["a", "b"]


def command(data, model, out="out"):
    places = ("--rgb-dir", data / "rgb", "--x-dir", data / "x", "--out", data / out, "--model", model)
    return [str(part) for part in (sys.executable, "-m", "ktb", "predict", *places, "--workers", 1)]


def start(arguments, index, count):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables(index, count)}
    return subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_processes_one_killed_and_resumed_by_three(data, model, monkeypatch, request):
    """The command itself: kill -9 while it works, then go on with another number of processes.

    The first one stands still, at work, while the second does its share: nothing here depends on their speed.
    """
    photo = (data / "rgb/a.png").read_bytes()
    depth = (data / "x/a.png").read_bytes()
    for number in range(20):
        (data / f"rgb/n{number:02}.png").write_bytes(photo)
        (data / f"x/n{number:02}.png").write_bytes(depth)
    (data / "x/c.tiff").write_bytes(b"broken")
    victim = start(command(data, model), 0, 2)
    request.addfinalizer(victim.kill)  # also if a check fails while it stands still
    own = data / "out/results.rank-0.jsonl"
    deadline = time.monotonic() + 120
    while not (own.exists() and own.read_bytes().count(b"\n") >= 3):
        assert victim.poll() is None, victim.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    victim.send_signal(signal.SIGSTOP)
    assert own.read_bytes().count(b"\n") < 12

    def as_process(index: int, count: int):
        for name, value in variables(index, count).items():
            monkeypatch.setenv(name, value)
        result = run(*command(data, model)[3:])
        assert result.exit_code == 0, result.output  # a failed pair must not stop other processes
        return result

    assert "process 2 of 2: 12 done" in as_process(1, 2).stdout
    assert own.exists()  # that of a process at work stays
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    done_by_victim = own.read_bytes().count(b'"status": "done"')
    kept = 0
    for index in range(3):
        result = as_process(index, 3)
        kept += int(result.stdout.split(" done by an earlier run")[0].split()[-1])
    assert kept >= done_by_victim + 11
    found = records(data / "out")
    assert len(found) == 24
    assert [name for name, record in found.items() if record["status"] == "failed"] == ["c"]
    assert len(contents(data / "out")) == 3 * 23
    assert not [name for name in visible(data / "out") if name.startswith("results.rank")]
