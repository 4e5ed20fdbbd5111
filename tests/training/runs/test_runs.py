"""Whole training runs: killed, ended, on two processes, validated, adapters only.

Runs that are killed or launched twice are processes, as a user starts them. The others call the command,
and the launcher, in this process, because a start takes seconds.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from helpers.trees import make_tree

from ktb.checkpoints.load import load_model
from training import train
from training.engine.state import STATE_FILE
from training.engine.trainer import BEST_FILE, MODEL_FILE

ROOT = Path(__file__).resolve().parents[3]
SMALL = [
    *("crop=64,64", "batch_size=4", "epochs=2", "precision=fp32", "warmup_epochs=0.5", "dropout=0.0"),
    *("eval_every=2", "val_fraction=0.34"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A NYUv2 tree of 12 training frames, of which 4 will be held out, and 12 test frames."""
    return make_tree("nyuv2", tmp_path_factory.mktemp("nyuv2"), size=(72, 96), count=12)


def command(tree: Path, out: Path, *more: str, settings: tuple[str, ...] = ()):
    """The command line of a small run on the CPU."""
    options = ("--data", tree, "--out", out, "--device", "cpu", "--threads", "1", "--log-every", "1", *more)
    return [sys.executable, "-m", "training.train", "nyuv2-lite", *options, "--set", *SMALL, *settings]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def launch(arguments: list, monkeypatch) -> None:
    """Run to the end on two processes of PyTorch's launcher, which raises what one of them ends with.

    The launcher is in this process, and in a thread: it would keep the signals of the main one.
    """
    from torch.distributed.run import main

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM")  # which the launcher sets anew
    monkeypatch.chdir(ROOT)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(main, ["--standalone", "--nproc-per-node", "2", *map(str, arguments)]).result()


def run_here(arguments: list) -> None:
    """The same command in this process."""
    threads = torch.get_num_threads()
    train.main([str(a) for a in arguments[arguments.index("nyuv2-lite") :]])
    torch.set_num_threads(threads)


def start_and_wait(arguments: list, until) -> subprocess.Popen:
    """Start a run and return it as soon as `until()` holds."""
    process = subprocess.Popen(
        [str(a) for a in arguments],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 240
    while not until():
        assert process.poll() is None, process.stderr.read().decode()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def losses(out: Path) -> list[float]:
    with (out / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def validations(out: Path) -> list[dict[str, str]]:
    with (out / "eval.csv").open() as file:
        return [*csv.DictReader(file)]


def saved_step(out: Path) -> int:
    """The step in the state file, 0 while there is none; the file must be whole whenever it is there."""
    path = out / STATE_FILE
    return torch.load(path, weights_only=True)["step"] if path.is_file() else 0


@pytest.fixture(scope="module")
def straight(tree, tmp_path_factory) -> Path:
    """An uninterrupted run of four steps."""
    out = tmp_path_factory.mktemp("straight")
    run_here(command(tree, out))
    return out


def test_killed_and_resumed_equals_uninterrupted(tree, straight, tmp_path):
    process = start_and_wait(
        command(tree, tmp_path, "--save-minutes", "0"), until=lambda: saved_step(tmp_path) >= 1
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    step = saved_step(tmp_path)
    assert 1 <= step <= 4
    if (tmp_path / MODEL_FILE).exists():
        load_model(tmp_path / MODEL_FILE)  # whole, whenever it was written
    run_here(command(tree, tmp_path, "--resume"))
    ours, theirs = (load_model(out / MODEL_FILE).state_dict() for out in (tmp_path, straight))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert losses(tmp_path) == losses(straight)


def test_sigterm_saves_first(tree, tmp_path, caplog):
    out, found = tmp_path / "run", []

    def terminate() -> None:
        while not ((out / "log.csv").is_file() and losses(out)):
            if ended.wait(0.02):
                return
        found.append((out / STATE_FILE).exists())
        os.kill(os.getpid(), signal.SIGTERM)

    caplog.set_level("INFO")
    before, ended = signal.signal(signal.SIGTERM, signal.SIG_IGN), threading.Event()
    watcher = threading.Thread(target=terminate)
    watcher.start()
    try:
        run_here(command(tree, out, "--save-minutes", "60", settings=("epochs=500", "eval_every=0")))
    finally:
        ended.set()
        watcher.join()
        signal.signal(signal.SIGTERM, before)
    assert found == [False]
    assert saved_step(out) >= 1
    summary = json.loads((out / "run.json").read_text())
    assert (summary["finished"], summary["step"]) == (False, saved_step(out))
    assert "Stopped early" in caplog.text


def test_a_run_may_be_called_in_any_thread_and_leaves_the_signals_alone(tree, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    arguments = command(tree, tmp_path, "--steps", "1", settings=("eval_every=0",))
    options = train._parser().parse_args([str(a) for a in arguments[arguments.index("nyuv2-lite") :]])
    with ThreadPoolExecutor(1) as thread:
        thread.submit(train.run, options).result(120)
    assert saved_step(tmp_path) == 1
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_two_processes_give_the_loss_curve_of_one(tree, straight, tmp_path, monkeypatch):
    """Two processes with two samples each, synchronised batch norms and shared means: one with four.

    Equal to rounding until the first full update. Then AdamW turns the rounding of gradients that should be
    zero (biases in front of a batch norm) into steps, and ties of an untrained fused prediction move label*.
    """
    launch(command(tree, tmp_path)[1:], monkeypatch)
    assert losses(tmp_path)[:2] == pytest.approx(losses(straight)[:2], rel=1e-5)
    assert losses(tmp_path) == pytest.approx(losses(straight), rel=2e-3)
    ours, theirs = (load_model(out / MODEL_FILE).state_dict() for out in (tmp_path, straight))
    for name in ("heads.fused.norm.running_mean", "backbone.patch_embed_x.1.running_var"):
        assert torch.allclose(ours[name], theirs[name], rtol=1e-2, atol=1e-3), name
    assert json.loads((tmp_path / "run.json").read_text())["processes"] == 2
    ((one,), (two,)) = (validations(out) for out in (straight, tmp_path))
    assert one["images"] == two["images"] == "4"  # each frame once, whichever process scored it
    assert float(one["fused_pixel_accuracy"]) == pytest.approx(float(two["fused_pixel_accuracy"]), abs=2)


def test_the_best_weights_are_chosen_on_held_out_frames(tree, tmp_path):
    out = tmp_path / "run"
    run_here(command(tree, out, "--tensorboard", "--adapters-only", settings=("eval_every=1",)))
    rows = validations(out)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    summary = json.loads((out / "run.json").read_text())
    assert summary["model"] == BEST_FILE
    assert summary["best"]["fused_miou"] == max(float(row["fused_miou"]) for row in rows)
    assert [*(out / "tensorboard").glob("events.*")]
    best = load_model(out / BEST_FILE)  # adapters only: completed from the installed pretrained weights
    assert "4 frames held out from train" in best.card["selection"]
    assert (out / BEST_FILE).stat().st_size < 12_000_000


def test_choosing_on_test_is_written_into_the_card(tree, tmp_path):
    out = tmp_path / "run"
    settings = ("eval_every=1", "epochs=1", "warmup_epochs=0")
    run_here(command(tree, out, "--select-on-test", settings=settings))
    card = load_model(out / BEST_FILE).card
    assert "the test split (12 frames)" in card["selection"]
    assert "TOO HIGH" in card["selection"].upper()


@pytest.mark.parametrize(
    ("settings", "more", "message"),
    [
        (("val_fraction=0",), (), "val_fraction=0.1"),
        (("eval_every=0",), ("--select-on-test",), "eval_every"),
        (("batch_size=3", "accumulate=2"), (), "does not divide"),
        (("pretrained=nowhere.pth",), (), "nowhere.pth"),
    ],
)
def test_settings_that_cannot_be(tree, tmp_path, settings, more, message, capsys):
    with pytest.raises(SystemExit):
        run_here(command(tree, tmp_path / "run", *more, settings=settings))
    assert message in capsys.readouterr().err
