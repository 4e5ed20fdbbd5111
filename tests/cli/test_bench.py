"""The benchmark measures what it says, in processes of its own, and leaves nothing out."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.models import stirred, tiny_model
from PIL import Image
from typer.testing import CliRunner

import ktb.bench.measure
import ktb.bench.run
from ktb.__main__ import app
from ktb.bench import Case, make_cases, run_cases
from ktb.bench.measure import flops, seconds_of_modules
from ktb.bench.run import Worker
from ktb.bench.worker import Session
from ktb.checkpoints.load import save_model
from tools import plain_forward

pytestmark = pytest.mark.usefixtures("one_thread")

BASELINE = Path(plain_forward.__file__)
SIZE = (64, 96)


def bench(*arguments: str):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, stirred(tiny_model("swin")), {})
    return path


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> Path:
    folder, generator = tmp_path_factory.mktemp("frames"), np.random.default_rng(0)
    for kind, values in {"rgb": (256, 3), "x": (256,), "labels": (5,)}.items():
        (folder / kind).mkdir()
        for name in ("a", "b"):
            pixels = generator.integers(0, values[0], (*SIZE, *values[1:]), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{name}.png")
    return folder


class WorkerHere:
    """A worker without a process of its own, which takes seconds to start."""

    def __init__(self, case: Case, file: str):
        self.case = case
        started = time.perf_counter()
        self._session = Session(case, file)
        self.first_logits = self._session.logits()
        self.first_result = time.perf_counter() - started

    def ask(self, method: str, *arguments):
        return getattr(self._session, method)(*arguments)

    def close(self):
        pass


@pytest.fixture(scope="module")
def results(model_file, frames, tmp_path_factory) -> tuple[dict, Path]:
    """One run with everything: a baseline, two precisions, scores."""
    out = tmp_path_factory.mktemp("bench") / "new"
    scored = [part for kind in ("rgb", "x", "labels") for part in (f"--{kind}", frames / kind)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ktb.bench.run, "Worker", WorkerHere)
        patch.setattr(ktb.bench.measure, "MATRIX_SIDE", 256)
        outcome = bench(
            *("--model", model_file, "--size", "64x96", "--precision", "float32", "--precision", "bfloat16"),
            *("--runtime", "eager", "--baseline", BASELINE, "--rounds", 3, "--threads", 1, "--out", out),
            *scored,
        )
    assert outcome.exit_code == 0, outcome.output
    return json.loads((out / "bench.json").read_text()), out


def test_a_worker_is_a_process_of_its_own_that_gives_what_this_one_gives(model_file):
    case = Case(str(model_file), size_hw=SIZE, threads=1)
    worker = Worker(case, str(model_file))
    process = worker._process
    assert process.pid != os.getpid()
    assert np.array_equal(worker.first_logits, WorkerHere(case, str(model_file)).first_logits)
    assert worker.first_result > worker.ask("seconds") > 0
    assert worker.ask("memory")["process"] > 50e6
    with pytest.raises(RuntimeError, match="AttributeError"):
        worker.ask("abacus")
    worker.close()
    assert not process.is_alive()


def test_every_case_is_measured(results):
    found, _ = results
    cases = [(result["runtime"], result["precision"]) for result in found["results"]]
    assert cases == [("baseline", "float32"), ("eager", "float32"), ("eager", "bfloat16")]
    for result in found["results"]:
        low, high = result["quartiles"]
        assert 0 < low <= result["median"] <= high
        assert len(result["seconds"]) == len(result["speedup"]["rounds"]) == found["rounds"] == 3
        assert result["first_result"] > result["median"]
        assert result["memory"]["process"] > 50e6
        assert result["flops"] > 0
        expected = result["flops"] / result["matrix_product_flops_per_second"]
        assert result["floor_seconds"] == pytest.approx(expected)
    assert found["machine"]["threads"] == 1
    assert any("grid_sample" in note for note in found["notes"])


def test_speed_is_told_against_the_baseline_round_by_round(results):
    baseline, eager, _ = results[0]["results"]
    assert baseline["speedup"]["rounds"] == [1.0] * 3
    ratios = [theirs / ours for theirs, ours in zip(baseline["seconds"], eager["seconds"])]
    assert eager["speedup"]["rounds"] == pytest.approx(ratios)
    assert eager["speedup"]["median"] == pytest.approx(np.median(ratios))
    assert eager["speedup"]["against"] == baseline["name"]


def test_answers_are_compared_with_float32(results):
    baseline, eager, half = (result["parity"] for result in results[0]["results"])
    assert eager == {"largest_difference": 0.0, "equal_labels": 1.0}
    assert 0 < baseline["largest_difference"] < 1e-4
    assert baseline["equal_labels"] > 0.999
    assert 1e-4 < half["largest_difference"] < 1
    assert 0.9 < half["equal_labels"] <= 1


def test_runtimes_are_scored_on_labelled_pairs(results):
    baseline, eager, half = results[0]["results"]
    assert "score" not in baseline
    assert eager["score"]["frames"] == half["score"]["frames"] == 2
    assert eager["score"]["miou_change"] == 0
    assert 0 < eager["score"]["miou"] < 100
    assert half["score"]["miou_change"] == pytest.approx(half["score"]["miou"] - eager["score"]["miou"])


def test_eager_runs_are_divided_into_parts(results):
    baseline, eager, _ = results[0]["results"]
    assert baseline["parts"] is None
    levels = {f"DSCF level {level}" for level in range(4)}
    backbone = {"patch embedding", "patch merging", "window attention", "MLP", "adapters"}
    heads = {"head fused", "head rgb", "head x"}
    around = {"preparing a pair, without reading X", "deciding the labels"}
    assert set(eager["parts"]) == backbone | levels | heads | around | {"MAPA", "other"}
    assert min(eager["parts"].values()) > 0


def test_there_is_a_picture(results):
    _, out = results
    assert {path.name for path in out.iterdir()} == {"bench.json", "bench.png", "bench.svg"}
    with Image.open(out / "bench.png") as picture:
        assert min(picture.size) > 500
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    assert "<svg" in (out / "bench.svg").read_text()


def test_what_cannot_run_says_why_and_the_others_go_on(model_file, monkeypatch):
    monkeypatch.setattr(ktb.bench.run, "Worker", WorkerHere)
    monkeypatch.setattr(ktb.bench.measure, "MATRIX_SIDE", 256)
    case = Case(str(model_file), size_hw=SIZE, threads=1)
    other = Case(str(model_file), runtime="abacus", size_hw=SIZE, threads=1)
    lines = []
    found = run_cases([case, other], rounds=1, report=lines.append)["results"]
    assert found[0]["median"] > 0
    assert "choose one of" in found[1]["skipped"]
    assert any("skipped" in line for line in lines)


def test_cases_are_all_combinations_with_the_references_first():
    cases = make_cases(["swin-b", "lite"], ["auto", "eager"], ["bfloat16"], [SIZE], [1, 2], baseline=BASELINE)
    assert len(cases) == 2 * 2 * 4
    first = cases[:4]
    assert [case.runtime for case in first] == ["baseline", "eager", "auto", "eager"]
    assert [case.precision for case in first] == ["float32", "float32", "bfloat16", "bfloat16"]
    assert len({case.job for case in first}) == 1
    assert len({case.job for case in cases}) == 4


def test_operations_grow_with_the_batch_and_parts_leave_no_trace():
    model = tiny_model("lite")
    one, two, three = (flops(model, batch, (480, 640)) for batch in (1, 2, 3))
    assert three - two == two - one
    assert 1.9 < two / one <= 2  # products of weights alone are made once for a batch
    image = torch.zeros(1, 3, *SIZE)
    with torch.inference_mode():
        parts = seconds_of_modules(model, lambda: model(image, image), "cpu")
    assert {"patch embedding", "frozen blocks", "adapters", "MAPA", "head x", "other"} <= set(parts)
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "480"], "give height and width in pixels, such as 480x640"),
        (["--size", "40x64"], "size 40x64: give multiples of 32"),
        (["--batch", "0"], "batch 0: give at least 1 pair"),
        (["--threads", "0"], "threads 0: give at least 1"),
        (["--rounds", "0"], "rounds 0: give at least 1"),
        (["--runtime", "abacus"], "--runtime 'abacus': choose from auto, eager"),
        (["--precision", "int3"], "--precision 'int3': choose from float32"),
        (["--rgb", "photos"], "--x, --labels is missing"),
        (["--model", "nothing"], "there is no model or file 'nothing'"),
        (["--baseline", "nothing.py"], "nothing.py does not exist"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message, tmp_path):
    outcome = bench("--out", tmp_path / "out", *arguments)
    assert outcome.exit_code == 2
    assert message in " ".join(outcome.output.split())
    assert not (tmp_path / "out").exists()
