"""Every runtime says what the eager network says, and graphs are kept, checked and rebuilt."""

from __future__ import annotations

import ast
import dataclasses
import json
import logging
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.models import pair, stirred, tiny_model, tiny_swin_config
from helpers.runtimes import assert_same, assert_same_outputs, copy_of, export_here
from safetensors.torch import load_file

import ktb.inference.runtimes
from ktb.checkpoints.official import infer_config, to_ours
from ktb.config import BRANCHES
from ktb.inference.predictor import Predictor
from ktb.inference.runtimes import graph_cache, make_runtime
from ktb.inference.runtimes.background import BackgroundCompiled
from ktb.inference.runtimes.eager import CompiledRuntime, EagerRuntime
from ktb.inference.runtimes.export import X86, checksum
from ktb.inference.runtimes.graph import INPUTS, GraphModule, keep_input, output_names
from ktb.inference.runtimes.graph_cache import NETWORK_CODE, GraphCache, graph_key, model_digest
from ktb.inference.runtimes.onnx import ONNXRuntime
from ktb.inference.runtimes.openvino import OpenVINORuntime, rehearse
from ktb.inference.runtimes.sessions import GraphRuntime
from ktb.modeling.build import build_model

VECTOR = "small_98x131_w12"  # odd sizes, padded windows


def eager(model, precision="float32"):
    return EagerRuntime(model, precision, "")


@pytest.fixture
def user_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KTB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graphs"


@pytest.fixture
def automatic(monkeypatch):
    """Without what the suite says about runtimes."""
    monkeypatch.delenv("KTB_RUNTIME")


class FakeGraphs(GraphRuntime):
    """A graph runtime whose graphs are a text file and whose sessions are the network itself."""

    name = format = "openvino"

    def __init__(self, model, **keywords):
        self.exports, self.loads, self.gate = [], [], threading.Event()
        self.gate.set()
        super().__init__(model, "float32", "", export=self.write, **keywords)

    def write(self, model, format, size_hw, folder):
        assert self.gate.wait(30)
        self.exports.append(size_hw)
        fill(folder)

    def _load(self, folder):
        self.loads.append(folder)
        if (folder / "model.xml").read_text() != "a graph":
            raise RuntimeError("no graph")
        names = output_names(self._model)

        def run(inputs):
            tensors = GraphModule(self._model)(*(torch.from_numpy(inputs[name]) for name in INPUTS))
            return {name: tensor.numpy() for name, tensor in zip(names, tensors)}

        return run


def fill(folder: Path, text: str = "a graph") -> None:
    graph = folder / "model.xml"
    graph.write_text(text)
    files = {graph.name: {"bytes": graph.stat().st_size, "crc32": checksum(graph)}}
    (folder / "model.json").write_text(json.dumps({"files": files}))


# ---------------------------------------------------------------- the same numbers


@pytest.fixture(scope="module")
def reference(shared, deterministic_state):
    folder = shared / "reference" / "vectors"
    shapes = json.loads((folder / f"{VECTOR}.json").read_text())["official_shapes"]
    official = deterministic_state(shapes)
    model = build_model(infer_config(official))
    model.load_state_dict(to_ours(official))
    return model, load_file(folder / f"{VECTOR}.safetensors")


@pytest.fixture(scope="module")
def openvino_vectors(reference, made_once):
    pytest.importorskip("openvino")
    model, vectors = reference

    def export(folder):
        runtime = OpenVINORuntime(model, "float32", "", cache=GraphCache(folder), export=export_here)
        runtime.prepare(tuple(vectors["rgb"].shape[-2:]))

    cache = GraphCache(made_once("openvino_vectors", export))
    runtime = OpenVINORuntime(model, "float32", "", cache=cache, export=export_here)
    return model, (vectors["rgb"], vectors["x"]), runtime


@pytest.fixture(scope="module")
def onnx_small(small, exported, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    cache = GraphCache(tmp_path_factory.mktemp("cache"))
    runtime = ONNXRuntime(small, "float32", "", cache=cache, export=copy_of(exported / "graph"))
    return small, pair(1, 128, 160), runtime


@pytest.fixture(params=["openvino_vectors", "onnx_small"])
def graphs(request):
    return request.getfixturevalue(request.param)


@pytest.mark.skipif(platform.machine() not in X86, reason="OpenVINO has MLAS on x86 alone")
def test_no_product_with_weights_goes_to_the_slower_library(openvino_vectors):
    import openvino

    _, (rgb, _), runtime = openvino_vectors
    runtime.prepare(tuple(rgb.shape[-2:]))
    file = next(runtime._cache.folder.glob("*/model.xml"))
    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    about = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    told = [(str(info["layerType"].astype(str)), str(info["primitiveType"].astype(str))) for info in about]
    products = [primitive for layer, primitive in told if layer == "FullyConnected"]
    assert len(products) > 100
    assert not [primitive for primitive in products if "mlas" in primitive]


def test_openvino_gives_the_reference_vectors_logits_and_attention(reference, openvino_vectors):
    vectors, runtime = reference[1], openvino_vectors[2]
    output = runtime(vectors["rgb"], vectors["x"], trace=True)
    assert output.runtime == "openvino"
    for branch in BRANCHES:
        wanted = vectors[f"logits_{branch}"]
        upsampled = torch.nn.functional.interpolate(
            getattr(output, branch), wanted.shape[-2:], mode="bilinear"
        )
        assert_same(upsampled, wanted)
    for level, trace in enumerate(output.trace):
        assert_same(trace.modality_weights, vectors[f"modality_weights.{level}"])
        rows = trace.attention(vectors[f"attention_queries.{level}"])
        assert_same(rows, vectors[f"attention_rows.{level}"])


def test_a_graph_gives_every_tensor_of_the_trace_as_eager(graphs):
    model, inputs, runtime = graphs
    assert_same_outputs(runtime(*inputs, trace=True), eager(model)(*inputs, trace=True))
    without = runtime(*inputs, branches=("fused",))
    assert without.trace is without.prompts is without.rgb is without.x is None


def test_a_graph_switches_each_sample_sensors_off_as_eager(graphs):
    model, inputs, runtime = graphs
    batch = pair(3, *inputs[0].shape[-2:])
    masks = torch.tensor([True, False, False]), torch.tensor([False, False, True])
    ours, theirs = (one(*batch, *masks, trace=True) for one in (runtime, eager(model)))
    assert_same_outputs(ours, theirs)
    alone = runtime(batch[0][:1], batch[1][:1], mask_rgb=torch.tensor([True]))
    assert_same(alone.fused, ours.fused[:1])


@pytest.mark.parametrize("fusion", [{"kind": "mean"}, {"prompts": False}])
def test_a_network_without_a_part_has_no_outputs_for_it(fusion):
    config = tiny_model("swin").config
    fusion = dataclasses.replace(config.fusion, **fusion)
    model = build_model(dataclasses.replace(config, fusion=fusion))
    names = output_names(model)
    tensors = GraphModule(model)(*pair(), torch.ones(2, 2))
    assert len(names) == len(tensors)
    output = ktb.inference.runtimes.graph.to_output(model, dict(zip(names, tensors)), True, BRANCHES, "onnx")
    assert_same_outputs(output, eager(model)(*pair(), trace=True))


def test_the_switches_say_which_sensors_are_there():
    keep = keep_input(3, torch.tensor([True, False, False]), torch.tensor([False, False, True]))
    assert keep.tolist() == [[0, 1], [1, 1], [1, 0]]
    assert keep_input(1, None, None).tolist() == [[1, 1]]


def test_bfloat16_gives_nearly_the_same_labels():
    model = tiny_model("swin")
    low = eager(model, "bfloat16")(*pair(1, 128, 160), trace=True)
    full = eager(model)(*pair(1, 128, 160))
    assert 0 < (low.fused.float() - full.fused).abs().max() < 0.1 * full.fused.abs().max()
    rows = low.trace[0].attention(torch.tensor([0, 7]))
    assert torch.allclose(rows.sum(-1), torch.ones(()), atol=1e-5)


def test_a_graph_that_ends_its_process_does_not_end_this_one(openvino_vectors, tmp_path, monkeypatch, caplog):
    model, _, runtime = openvino_vectors
    size_hw = tuple(openvino_vectors[1][0].shape[-2:])
    runtime.prepare(size_hw)
    folder = tmp_path / "graph"
    shutil.copytree(runtime._cache.find(runtime._key(size_hw)), folder)
    rehearse(folder, "bfloat16")  # for real, in a process of its own
    assert (folder / "rehearsed-bfloat16").read_text().strip()

    started = []

    def crash(command, **keywords):
        started.append(command)
        return subprocess.CompletedProcess(command, -11, "", "")

    monkeypatch.setattr("ktb.inference.runtimes.openvino.subprocess.run", crash)
    rehearse(folder, "bfloat16")  # is done once
    assert not started
    low = FakeGraphs(model, cache=GraphCache(tmp_path))
    low._rehearse = lambda folder: rehearse(folder, "bfloat16")
    with pytest.raises(ValueError, match=r"code -11.*Choose the precision float32, or the runtime eager"):
        low(*pair())
    assert len(started) == len(low.exports) == 1
    patient = BackgroundCompiled(low, eager(model))
    for _ in range(2):
        patient(*pair(1, 32, 32))
    patient._exports[32, 32].exception(30)
    assert patient(*pair(1, 32, 32)).runtime == "eager"
    assert "eager stays in use" in caplog.text


# ---------------------------------------------------------------- the cache


def test_a_graph_is_exported_once_and_found_again(tmp_path):
    model, cache = tiny_model("swin"), GraphCache(tmp_path)
    first = FakeGraphs(model, cache=cache)
    for _ in range(2):
        assert_same_outputs(first(*pair(), trace=True), eager(model)(*pair(), trace=True))
    second = FakeGraphs(model, cache=cache)
    second(*pair())
    assert (len(first.exports), len(first.loads)) == (1, 1)
    assert (len(second.exports), len(second.loads)) == (0, 1)


def test_a_graph_has_the_share_of_a_residual(tmp_path):
    config = tiny_swin_config()
    torch.manual_seed(0)
    fusion = dataclasses.replace(config.fusion, residual=True)
    model = stirred(build_model(dataclasses.replace(config, fusion=fusion)))
    ours = FakeGraphs(model, cache=GraphCache(tmp_path))(*pair(), trace=True)
    assert_same_outputs(ours, eager(model)(*pair(), trace=True))
    assert all(level.residual_norm.min() > 0 for level in ours.trace)


@pytest.mark.parametrize("damage", ["cut", "changed", "no description", "broken description", "no graph"])
def test_a_damaged_graph_is_exported_again(tmp_path, damage):
    cache = GraphCache(tmp_path)
    place = cache.add("key", fill)
    if damage == "cut":
        (place / "model.xml").write_text("a gra")
    elif damage == "changed":
        (place / "model.xml").write_text("b graph")
    elif damage == "no graph":
        (place / "model.xml").unlink()
    elif damage == "no description":
        (place / "model.json").unlink()
    else:
        (place / "model.json").write_text("{")
    assert cache.find("key") is None
    assert cache.add("key", fill) == place
    assert cache.find("key") == place


def test_a_whole_graph_that_cannot_be_loaded_is_exported_again(tmp_path, caplog):
    runtime = FakeGraphs(tiny_model("swin"), cache=GraphCache(tmp_path))
    place = runtime._cache.folder / runtime._key((64, 96))
    place.mkdir(parents=True)
    fill(place, "of another time")
    runtime(*pair())
    assert runtime.exports == [(64, 96)]
    assert "exported again" in caplog.text


def test_the_key_changes_with_weights_configuration_size_versions_and_code(monkeypatch):
    model = tiny_model("swin")
    digest = model_digest(model)
    keys = {graph_key(digest, "openvino", (64, 96)), graph_key(digest, "openvino", (96, 64))}
    keys.add(graph_key(digest, "onnx", (64, 96)))
    renamed = build_model(dataclasses.replace(model.config, name="other"))
    renamed.load_state_dict(model.state_dict())
    keys.add(graph_key(model_digest(renamed), "openvino", (64, 96)))
    with torch.no_grad():
        model.dscf[0].alpha[0] += 1e-3
    keys.add(graph_key(model_digest(model), "openvino", (64, 96)))
    with monkeypatch.context() as patch:
        patch.setattr("ktb.inference.runtimes.graph_cache.versions", lambda format: {"openvino": "1.0"})
        keys.add(graph_key(digest, "openvino", (64, 96)))
    monkeypatch.setattr("ktb.inference.runtimes.graph_cache._code_digest", lambda: "other code")
    keys.add(graph_key(digest, "openvino", (64, 96)))
    assert len(keys) == 7


def test_graphs_hold_the_weights_of_the_start(tmp_path):
    model = tiny_model("swin")
    runtime = FakeGraphs(model, cache=GraphCache(tmp_path))
    runtime(*pair())
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    runtime(*pair())
    with pytest.raises(ValueError, match="have changed since this runtime was made"):
        runtime(*pair(1, 32, 32))
    assert len(runtime.exports) == 1
    again = FakeGraphs(model, cache=GraphCache(tmp_path))
    again(*pair())
    assert len(again.exports) == 1


def test_whether_a_graph_is_at_hand_is_told_without_the_disk(tmp_path, monkeypatch):
    runtime = FakeGraphs(tiny_model("swin"), cache=GraphCache(tmp_path))
    runtime.prepare((32, 32))
    read, stop = [], threading.Event()
    monkeypatch.setattr(runtime._cache, "find", lambda key: read.append(key))

    def use() -> None:
        while not stop.is_set():
            runtime.prepare((32, 32))

    threads = [threading.Thread(target=use) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        assert all(runtime.is_at_hand((32, 32)) for _ in range(500))
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join(30)
    assert not read


def test_the_code_of_a_graph_is_all_that_the_network_is_made_of():
    package = Path(ktb.__file__).parent
    hashed = [name.removesuffix(".py").replace("/", ".") for name in NETWORK_CODE]
    for file in (package / "modeling").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.startswith("ktb."):
                    assert name.removeprefix("ktb.").startswith(tuple(hashed)), f"{file.name} imports {name}"


@pytest.mark.parametrize("changed", ["config.py", "modeling/memo.py", "modeling/trace.py", "modeling/new.py"])
def test_a_change_of_the_networks_code_changes_the_key(tmp_path, monkeypatch, changed):
    package = tmp_path / "ktb"
    package.mkdir()
    for name in NETWORK_CODE:
        source = Path(ktb.__file__).parent / name
        if source.is_dir():
            shutil.copytree(source, package / name)
        else:
            shutil.copy(source, package)
    place = Path(graph_cache.__file__).relative_to(Path(ktb.__file__).parent)
    monkeypatch.setattr(graph_cache, "__file__", str(package / place))
    before = graph_key("0" * 64, "onnx", (64, 96))
    with (package / changed).open("a") as file:
        file.write("\n# another version\n")
    assert graph_key("0" * 64, "onnx", (64, 96)) != before


def _add(folder: Path, barrier, index: int) -> None:
    def slowly(place: Path) -> None:
        barrier.wait(30)  # both are writing at the same time
        fill(place)

    assert GraphCache(folder).add("key", slowly).is_dir()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts processes by fork")
def test_two_processes_may_make_the_same_graph(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_add, args=(tmp_path, barrier, i)) for i in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert GraphCache(tmp_path).find("key") is not None
    assert [place.name for place in (tmp_path / "graphs").iterdir()] == ["key"]


def test_a_failed_export_leaves_nothing(tmp_path):
    def fail(folder):
        fill(folder)
        raise RuntimeError("no export today")

    with pytest.raises(RuntimeError, match="no export today"):
        GraphCache(tmp_path).add("key", fail)
    assert list((tmp_path / "graphs").iterdir()) == []


def test_without_a_folder_to_write_graphs_are_made_for_this_process(tmp_path, caplog):
    (tmp_path / "graphs").write_text("a file where the folder would be")
    model = tiny_model("swin")
    runtime = FakeGraphs(model, cache=GraphCache(tmp_path))
    for _ in range(2):
        assert_same_outputs(runtime(*pair()), eager(model)(*pair()))
    assert len(runtime.exports) == 1
    assert "set KTB_CACHE" in caplog.text
    assert not runtime.loads[0].exists()


def test_graphs_that_were_not_used_for_longest_go_first(tmp_path):
    cache = GraphCache(tmp_path)
    for age, key in enumerate(("new", "middle", "old")):
        place = cache.add(key, fill)
        os.utime(place / "model.json", (1e9 - age, 1e9 - age))
    one = sum(file.stat().st_size for file in place.iterdir())
    small = GraphCache(tmp_path, max_bytes=2 * one)
    small.find("old")  # counts as a use
    small.add("newest", fill)
    assert {place.name for place in small.folder.iterdir()} == {"newest", "old"}


def test_sessions_are_bounded_and_sizes_come_back_from_the_disk(tmp_path):
    runtime = FakeGraphs(tiny_model("swin"), cache=GraphCache(tmp_path))
    runtime.max_sessions = 2
    for width in (32, 64, 96, 32):
        runtime(*pair(1, 64, width))
    assert len(runtime._sessions) == 2
    assert (len(runtime.exports), len(runtime.loads)) == (3, 4)


def test_threads_of_one_size_wait_for_one_export_and_others_do_not(tmp_path):
    runtime = FakeGraphs(tiny_model("swin"), cache=GraphCache(tmp_path))
    runtime(*pair(1, 32, 32))
    runtime.gate.clear()
    threads = [threading.Thread(target=runtime, args=pair(1, 64, 64)) for _ in range(3)]
    for thread in threads:
        thread.start()
    runtime(*pair(1, 32, 32))  # does not hang
    runtime.gate.set()
    for thread in threads:
        thread.join(30)
    assert runtime.exports == [(32, 32), (64, 64)]


# ---------------------------------------------------------------- the choice


def test_the_patient_runtime_lets_nobody_wait(tmp_path):
    model = tiny_model("swin")
    graph = FakeGraphs(model, cache=GraphCache(tmp_path))
    runtime = BackgroundCompiled(graph, eager(model))
    graph.gate.clear()
    assert [runtime(*pair()).runtime for _ in range(3)] == ["eager"] * 3  # the second time starts an export
    graph.gate.set()
    runtime._exports[64, 96].result(30)
    assert runtime(*pair()).runtime == "openvino"
    assert runtime(*pair(1, 32, 32)).runtime == "eager"
    assert graph.exports == [(64, 96)]
    again = BackgroundCompiled(FakeGraphs(model, cache=GraphCache(tmp_path)), eager(model))
    assert again(*pair()).runtime == "openvino"  # from the disk at once


def test_the_patient_runtime_goes_on_when_an_export_fails(tmp_path, caplog):
    model = tiny_model("swin")
    graph = FakeGraphs(model, cache=GraphCache(tmp_path))
    graph._load = lambda folder: 1 / 0
    runtime = BackgroundCompiled(graph, eager(model))
    for _ in range(2):
        runtime(*pair())
    runtime._exports[64, 96].exception(30)
    assert runtime(*pair()).runtime == "eager"
    assert "eager stays in use" in caplog.text


def test_auto_takes_openvino_where_it_is_installed_and_says_why(automatic, user_cache, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="ktb.inference.runtimes")
    predictor = Predictor(tiny_model("swin"))
    assert isinstance(predictor.runtime, BackgroundCompiled)
    assert (predictor.runtime.name, predictor.runtime.precision) == ("openvino", "float32")
    assert "OpenVINO is installed" in predictor.runtime.why
    assert predictor.runtime.why in caplog.text
    monkeypatch.setattr("ktb.inference.runtimes.select.find_spec", lambda name: None)
    alone = make_runtime(tiny_model("swin"))
    assert alone.name == "eager"
    assert "pip install openvino" in alone.why


def test_the_environment_decides_what_auto_means(monkeypatch):
    monkeypatch.setenv("KTB_RUNTIME", "eager")
    runtime = make_runtime(tiny_model("swin"))
    assert (runtime.name, runtime.why) == ("eager", "Set by KTB_RUNTIME.")
    monkeypatch.setenv("KTB_RUNTIME", "fast")
    assert make_runtime(tiny_model("swin"), "eager").why == "It was requested."
    with pytest.raises(ValueError, match="'fast': choose one of auto, eager, openvino, onnx, compile, "):
        make_runtime(tiny_model("swin"))


def test_what_cannot_be_is_refused_in_words(monkeypatch):
    model = tiny_model("swin")
    for arguments, message in (
        ({"runtime": "tensorrt"}, "'tensorrt': choose one of auto, eager"),
        ({"precision": "int8"}, "'int8': choose one of float32, bfloat16"),
        ({"runtime": "onnx", "precision": "bfloat16"}, "onnx computes in float32, not bfloat16"),
        ({"runtime": "cudagraph"}, "computes on an NVIDIA GPU, but the model is on 'cpu'"),
    ):
        with pytest.raises(ValueError, match=message):
            Predictor(model, **arguments)
    with pytest.raises(ValueError, match="computes on the CPU, but the model is on 'meta'"):
        OpenVINORuntime(tiny_model("swin").to("meta"), "float32", "")
    monkeypatch.setattr("ktb.inference.runtimes.export.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="openvino needs openvino: run `pip install openvino`"):
        make_runtime(model, "openvino")
    with pytest.raises(ValueError, match="pip install onnx onnxscript onnxruntime"):
        make_runtime(model, "onnx")
    monkeypatch.setattr("ktb.inference.runtimes.eager.shutil.which", lambda name: None)
    with pytest.raises(ValueError, match="needs a C\\+\\+ compiler"):
        make_runtime(model, "compile")


def test_compile_computes_the_same(monkeypatch):
    compiled = []
    monkeypatch.setattr(  # compiling takes minutes
        "ktb.inference.runtimes.eager.torch.compile",
        lambda module, dynamic: compiled.append(module) or module,
    )
    monkeypatch.setattr("ktb.inference.runtimes.eager.shutil.which", lambda name: "/usr/bin/c++")
    model = tiny_model("swin")
    runtime = CompiledRuntime(model, "float32", "")
    masks = torch.tensor([True, False]), torch.tensor([False, True])
    assert_same_outputs(runtime(*pair(), *masks, trace=True), eager(model)(*pair(), *masks, trace=True))
    assert len(compiled) == 1


def test_a_prediction_tells_what_computed_it(tmp_path):
    model = tiny_model("swin")
    runtime = FakeGraphs(model, cache=GraphCache(tmp_path))
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    ours, theirs = (Predictor(model, runtime=one)(photo, None) for one in (runtime, "eager"))
    assert (ours.runtime, theirs.runtime) == ("openvino", "eager")
    assert ours.summary()["runtime"] == "openvino"
    assert ours.x.origin == "missing"
    assert np.array_equal(ours.labels["fused"], theirs.labels["fused"])


# ---------------------------------------------------------------- files for others


def test_export_writes_a_graph_that_describes_itself(exported, small):
    graph = exported / "graph"
    told = json.loads((graph / "model.json").read_text())
    assert set(told["files"]) == {path.name for path in graph.iterdir()} - {"model.json"}
    assert told["size"] == {"height": 128, "width": 160}
    assert tuple(told["outputs"]) == output_names(small)
    assert tuple(told["inputs"]) == INPUTS
    assert told["inputs"]["rgb"]["shape"] == ["any", 3, 128, 160]
    assert told["inputs"]["rgb"]["mean"] == list(small.config.inputs.rgb_mean)
    assert told["classes"] == list(small.config.classes)
    import onnxruntime

    session = onnxruntime.InferenceSession(graph / "model.onnx", providers=["CPUExecutionProvider"])
    assert tuple(port.name for port in session.get_inputs()) == INPUTS
    assert tuple(port.name for port in session.get_outputs()) == output_names(small)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "big"], "give height and width in pixels"),
        (["--size", "16x640"], "needs at least 32"),
        (["--size", "64x64", "--format", "openvino", "--model", "no-such"], "no-such"),
    ],
)
def test_export_refuses_in_words(arguments, message, tmp_path):
    from typer.testing import CliRunner

    from ktb.__main__ import app

    ended = CliRunner().invoke(app, ["export", "--out", str(tmp_path / "out"), *arguments])
    assert ended.exit_code == 2
    assert message in ended.stderr
