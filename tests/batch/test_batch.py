"""Many pairs on the command line: the same masks as one pair gives, resumed, with failures recorded."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.batches import batch, contents, pairs_of, records, run, text_steps
from PIL import Image

import ktb.batch.runner
from ktb import load_model, read_image_rgb, read_x
from ktb.batch.runner import OutputError, Running, run_batch
from ktb.inference.predictor import Predictor
from ktb.inputs import RawX
from ktb.outputs.files import result_files

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ["a", "b", "c", "sub/a"]


def test_batch_single_and_api_give_the_same_masks(data, model):
    result = batch(data, model, "--branches", "all")
    assert result.exit_code == 0, result.output
    assert "4 done, 0 failed" in result.stdout
    predictor = Predictor(load_model(model))
    found = records(data / "out")
    assert sorted(found) == NAMES
    for name, record in found.items():
        x = Path(record["x"][0])
        photo = read_image_rgb(record["rgb"])
        prediction = predictor(photo, read_x(x), trace=False)
        single = run(
            "predict", "--rgb", record["rgb"], "--x", x, "--model", model, "--out", data / "one" / name
        )
        assert single.exit_code == 0, single.output
        files = result_files(photo, prediction)
        kinds = {
            "labels_fused.png": "labels",
            "mask_fused.png": "masks",
            "overlay.png": "overlays",
            "labels_rgb.png": "labels_rgb",
            "mask_rgb.png": "masks_rgb",
            "labels_x.png": "labels_x",
            "mask_x.png": "masks_x",
        }
        assert record["files"] == {kind: f"{kind}/{name}.png" for kind in kinds.values()}
        for file, kind in kinds.items():
            written = (data / "out" / record["files"][kind]).read_bytes()
            assert written == files[file] == (data / "one" / name / file).read_bytes()
        told, expected = record["prediction"], prediction.summary()
        assert {**told, "seconds": 0} == {**expected, "seconds": 0}


def test_what_is_said_about_x_reaches_reader_and_encoder(data, model):
    """A table whose columns and sensor only the flags tell, and depth of another unit."""
    rng = np.random.default_rng(4)
    t, y, x, p = np.sort(rng.uniform(0, 1, 900)), *rng.integers(0, 30, (2, 900)), rng.integers(0, 2, 900)
    events = data / "events" / "a.txt"
    events.parent.mkdir()
    np.savetxt(events, np.column_stack([t, y, x, p]), fmt=("%.6f", "%d", "%d", "%d"))
    table = ("--columns", "tyxp", "--time-unit", "s", "--sensor", "60x40", "--window-ms", 0, 500)
    for place, file, flags in (("events", events, table), ("x", data / "x/a.png", ("--unit", "0.1mm"))):
        common = ("--model", model, *flags)
        many = run(
            "predict", "--rgb-dir", data / "rgb/a.*", "--x-dir", data / place, "--out", data / "m", *common
        )
        one = run("predict", "--rgb", data / "rgb/a.png", "--x", file, "--out", data / "o", *common)
        assert (many.exit_code, one.exit_code) == (0, 0), many.output + one.output
        told = json.loads((data / "o/prediction.json").read_text())
        assert records(data / "m")["a"]["prediction"]["x"] == told["x"]
        assert (data / "m/labels/a.png").read_bytes() == (data / "o/labels_fused.png").read_bytes()
    assert "tenths of a millimetre (certain)" in told["x"]["summary"]


def test_results_do_not_depend_on_the_workers(data, model):
    for workers in (1, 4):
        assert batch(data, model, "--workers", workers, out=f"out{workers}").exit_code == 0
    one, four = contents(data / "out1"), contents(data / "out4")
    assert len(one) == 12
    assert one == four
    image = Image.open(data / "out1/labels/sub/a.png")
    assert image.text["Checkpoint"] == "tiny"
    assert image.size == (120, 80)


def test_a_second_run_does_only_what_changed(data, model, calls):
    def again(*more, out="out"):
        calls.clear()
        result = batch(data, model, *more, out=out)
        assert result.exit_code == 0, result.output
        return len(calls)

    assert again() == 4
    assert again() == 0
    (data / "out/masks/b.png").unlink()
    assert again() == 1
    depth = cv2.imread(str(data / "x/a.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(data / "x/a.png"), depth // 2)
    before = contents(data / "out")
    assert again() == 1
    changed = {name for name, png in contents(data / "out").items() if png != before[name]}
    assert changed <= {"labels/a.png", "masks/a.png", "overlays/a.png"}
    assert changed
    assert again("--no-resume") == 4
    assert again("--unit", "mm", "--range", 0, 1) == 4
    assert again("--short-side", 96) == 4
    results = data / "out/results.jsonl"
    results.write_bytes(results.read_bytes()[:-20])  # the computer went off while the last line was written
    assert again("--short-side", 96) == 1
    assert sorted(records(data / "out")) == NAMES
    other = data / "other.safetensors"
    shutil.copy(model, other)
    model = other  # the same contents under another name: nothing changed
    assert again("--short-side", 96) == 0


def test_points_of_a_batch_are_written_also_where_the_rest_was(data, model, calls):
    assert batch(data, model, "--unit", "mm").exit_code == 0
    calls.clear()
    assert batch(data, model, "--unit", "mm", "--ply").exit_code == 0
    assert len(calls) == 4  # the earlier results lack the points
    assert {f"{name}.ply" for name in NAMES} == {
        path.relative_to(data / "out/clouds").as_posix() for path in (data / "out/clouds").rglob("*.ply")
    }
    assert records(data / "out")["a"]["files"]["clouds"] == "clouds/a.ply"
    assert b"comment camera ASSUMED" in (data / "out/clouds/a.ply").read_bytes()


def test_a_failed_pair_is_recorded_and_tried_again(data, model, calls):
    good = (data / "x/b.npy").read_bytes()
    (data / "x/b.npy").write_bytes(good[:-100])
    result = batch(data, model)
    assert result.exit_code == 1
    assert "3 done, 1 failed" in result.stdout
    assert "failed: b: " in result.stderr
    failed = records(data / "out")["b"]
    assert failed["status"] == "failed"
    assert failed["rgb"] == str(data / "rgb/b.jpg")
    assert failed["x"] == [str(data / "x/b.npy")]
    assert "b.npy" in failed["error"]
    assert not (data / "out/labels/b.png").exists()
    (data / "x/b.npy").write_bytes(good)
    calls.clear()
    result = batch(data, model)
    assert result.exit_code == 0, result.output
    assert "1 done, 3 done by an earlier run, 0 failed" in result.stdout
    assert len(calls) == 1
    assert records(data / "out")["b"]["status"] == "done"


def test_what_has_no_partner_is_told_and_recorded(data, model):
    (data / "x/b.npy").unlink()
    shutil.copy(data / "x/a.png", data / "x/zzz.png")
    result = batch(data, model)
    assert result.exit_code == 0, result.output
    assert f"Warning: '{data / 'x'}' has no file for 1 names, which are left out: b" in result.stderr
    about = json.loads((data / "out/run.json").read_text())
    assert about["left_out"] == {str(data / "rgb"): ["zzz"], str(data / "x"): ["b"]}
    assert about["pairs"] == 3
    assert about["settings"]["model"] == "tiny"


def test_results_below_the_rgb_images_are_no_rgb_images(data, model):
    places = ("--rgb-dir", data / "rgb", "--x-dir", data / "x", "--out", data / "rgb", "--model", model)
    for _ in range(2):
        result = run("predict", *places)
        assert result.exit_code == 0, result.output
        assert "left out" not in result.stderr
    assert sorted(records(data / "rgb")) == NAMES


def test_ctrl_c_leaves_complete_files_and_goes_on(data, model, calls, monkeypatch):
    original = Predictor.run

    def interrupted(self, pairs):
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, pairs)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "run", interrupted)
        result = batch(data, model, "--workers", 2)
    assert result.exit_code == 130
    assert "run the same command again to resume" in result.stderr
    found = records(data / "out")
    assert all(record["status"] == "done" for record in found.values())
    assert {file for record in found.values() for file in record["files"].values()} == set(
        contents(data / "out")
    )
    assert not list((data / "out").rglob("*.tmp"))
    calls.clear()
    assert batch(data, model).exit_code == 0
    assert len(calls) == 4 - len(found)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_full_disk_stops_with_one_message(data, model, monkeypatch, workers):
    original, lock, written = ktb.batch.runner.write_atomically, threading.Lock(), []

    def full(path, write):
        with lock:
            written.append(path)
            if len(written) > 5:
                raise OSError(errno.ENOSPC, "No space left on device")
        original(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(ktb.batch.runner, "write_atomically", full)
        result = batch(data, model, "--workers", workers)
    assert result.exit_code == 2
    assert result.stderr.count("Error: ") == 1
    assert "No space left on device" in result.stderr
    for record in records(data / "out").values():
        assert all((data / "out" / file).is_file() for file in record["files"].values())
    assert batch(data, model).exit_code == 0
    assert sorted(records(data / "out")) == NAMES


def test_a_foreign_list_of_results_is_left_alone(data, model):
    (data / "out").mkdir()
    (data / "out/results.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    result = batch(data, model)
    assert result.exit_code == 2
    assert "line 1 is not a record of a batch" in result.stderr
    assert (data / "out/results.jsonl").read_text() == '{"id": 1}\n{"id": 2}\n'


def test_an_unwritable_folder(data, model):
    (data / "file").write_text("")
    result = batch(data, model, out="file")
    assert result.exit_code == 2
    assert "is a file; give a folder" in result.stderr
    result = batch(data, model, out="file/below")
    assert result.exit_code == 2
    assert "the results cannot be written to" in result.stderr


def test_without_x_and_with_estimated_depth(data, model, monkeypatch):
    class Estimator:
        name = "made-up"

        def __init__(self, model, device):
            assert (model, device) == ("made-up", "cpu")

        def __call__(self, rgb):
            metres = np.linspace(1, 4, rgb[..., 0].size, dtype=np.float32).reshape(rgb.shape[:2])
            return RawX(metres, "estimated", "an estimate", origin="estimated", notes=("It is ESTIMATED.",))

    places = ("predict", "--rgb-dir", data / "rgb", "--model", model)
    result = run(*places, "--no-x", "--out", data / "no_x")
    assert result.exit_code == 0, result.output
    assert "(4 of 4) There is no X" in result.stderr
    assert Image.open(data / "no_x/masks/c.png").text["X"] == "missing"
    single = run("predict", "--rgb", data / "rgb/c.png", "--no-x", "--model", model, "--out", data / "one")
    assert "Warning: There is no X" in single.stderr
    assert (data / "one/labels_fused.png").read_bytes() == (data / "no_x/labels/c.png").read_bytes()
    monkeypatch.setattr("ktb.inputs.depth_estimation.DepthEstimator", Estimator)
    estimate = ("--estimate-depth", "--depth-model", "made-up")
    result = run(*places, *estimate, "--out", data / "est")
    assert result.exit_code == 0, result.output
    assert records(data / "est")["c"]["prediction"]["x"]["origin"] == "estimated"
    assert Image.open(data / "est/labels/c.png").text["X"] == "estimated"
    assert json.loads((data / "est/run.json").read_text())["settings"]["estimated_by"] == "made-up"
    single = run(
        "predict", "--rgb", data / "rgb/c.png", *estimate, "--model", model, "--out", data / "one_est"
    )
    assert single.exit_code == 0, single.output
    assert (data / "one_est/overlay.png").read_bytes() == (data / "est/overlays/c.png").read_bytes()


def test_different_guesses_of_the_unit_are_told(data, model):
    result = batch(data, model)
    assert "different units were detected: " in result.stderr
    assert "give --unit" in result.stderr
    (data / "x/b.npy").unlink()
    assert "different units" not in batch(data, model).stderr


# The machinery below the command, with steps made up here.


@pytest.mark.parametrize("step", ["read", "compute", "pack"])
def test_whatever_fails_ends_one_pair_only(tmp_path, step):
    def failing(pair, *more):
        if (pair == ["3"]) if step == "compute" else (pair.name == "03"):
            raise ZeroDivisionError("made up")
        return original(pair, *more)

    original = getattr(text_steps(), step)
    out = tmp_path / "out"
    outcome = run_batch(pairs_of(tmp_path, 8), out, text_steps(**{step: failing}), {}, Running(workers=3))
    assert [record["name"] for record in outcome.failed] == ["03"]
    assert outcome.failed[0]["error"] == "ZeroDivisionError: made up"
    assert sorted(path.name for path in out.glob("*.out")) == [f"0{n}.out" for n in (0, 1, 2, 4, 5, 6, 7)]


def test_reading_ahead_is_bounded_and_computing_in_order(tmp_path):
    read, order, most, lock = set(), [], [0], threading.Lock()

    def reading(pair):
        with lock:
            read.add(pair.name)
            most[0] = max(most[0], len(read) - len(order))
        return pair.x[0].read_text()

    def compute(texts):
        with lock:
            order.extend(texts)
        return texts

    pairs = pairs_of(tmp_path, 40)
    run_batch(pairs, tmp_path / "out", text_steps(read=reading, compute=compute), {}, Running(workers=2))
    assert order == [str(number) for number in range(40)]
    assert 1 < most[0] <= 4


def test_files_of_other_settings_are_not_taken_for_these(tmp_path, monkeypatch):
    """Settings A complete; B is cut short between a file and its record; then A again."""
    pairs, out = pairs_of(tmp_path, 1), tmp_path / "out"
    run_batch(pairs, out, text_steps(), {"s": "A"})
    other = text_steps(compute=lambda texts: ["other"] * len(texts))
    original = ktb.batch.runner._write

    def written_and_off(path, contents):
        original(path, contents)
        if path.suffix == ".out":
            raise OSError(errno.EIO, "gone")

    with monkeypatch.context() as patch:
        patch.setattr(ktb.batch.runner, "_write", written_and_off)
        with pytest.raises(OutputError, match="gone"):
            run_batch(pairs, out, other, {"s": "B"})
    assert (out / "00.out").read_text() == "other"
    outcome = run_batch(pairs, out, text_steps(), {"s": "A"})
    assert outcome.skipped == 0
    assert (out / "00.out").read_text() == "00"


def test_workers_out_of_range(tmp_path):
    with pytest.raises(ValueError, match="0 workers: give 1 to 64"):
        run_batch([], tmp_path / "out", text_steps(), {}, Running(workers=0))
    with pytest.raises(ValueError, match="0 pairs at once: give 1 to 256"):
        run_batch([], tmp_path / "out", text_steps(), {}, Running(batch_size=0))
