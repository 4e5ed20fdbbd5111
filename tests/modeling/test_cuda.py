"""On an NVIDIA card: the CPU's numbers, no waiting inside the network, and recordings that stay true.

None of this runs in CI, which has no card.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.models import pair, stirred, tiny_model
from helpers.runtimes import assert_same_outputs
from safetensors.torch import load_file
from typer.testing import CliRunner

from ktb import load_model, read_image_rgb, read_x
from ktb.__main__ import app
from ktb.analysis.attribution import attribute_prediction
from ktb.analysis.inspection import Inspection
from ktb.analysis.targets import Target
from ktb.checkpoints.official import infer_config, to_ours
from ktb.config import BRANCHES
from ktb.inference.oom import OutOfMemory
from ktb.inference.postprocess import Upsampling, confidence_of, labels_of
from ktb.inference.predictor import Predictor
from ktb.inference.runtimes import make_runtime
from ktb.inference.runtimes.cuda_graph import MAX_RECORDINGS, CUDAGraphRuntime
from ktb.inference.runtimes.eager import EagerRuntime
from ktb.modeling.build import build_model

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
    pytest.mark.usefixtures("exact"),
]
EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"


@pytest.fixture(scope="module")
def exact():
    """Convolutions in float32, where PyTorch's own choice is TF32."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def on_card(kind: str = "swin"):
    return stirred(tiny_model(kind)).eval().cuda()


def card_pair(*shape: int):
    return tuple(image.cuda() for image in pair(*shape))


def eager(model, precision="float32"):
    return EagerRuntime(model, precision, "")


@pytest.mark.parametrize("name", ["small_98x131_w12", "small_100x132"])
def test_the_reference_vectors(name, shared, deterministic_state):
    folder = shared / "reference" / "vectors"
    official = deterministic_state(json.loads((folder / f"{name}.json").read_text())["official_shapes"])
    model = build_model(infer_config(official))
    model.load_state_dict(to_ours(official))
    vectors = {key: tensor.cuda() for key, tensor in load_file(folder / f"{name}.safetensors").items()}
    with torch.inference_mode():
        output = model.eval().cuda()(vectors["rgb"], vectors["x"], trace=True)
    for branch in BRANCHES:
        assert (getattr(output, branch) - vectors[f"logits_{branch}"]).abs().max() <= 1e-4
    for level, trace in enumerate(output.trace):
        rows = trace.attention(vectors[f"attention_queries.{level}"])
        assert (rows - vectors[f"attention_rows.{level}"]).abs().max() <= 1e-4


@pytest.mark.parametrize("kind", ["swin", "lite"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_network_never_waits_for_the_card(kind, precision):
    model, inputs = on_card(kind), card_pair(2, 96, 128)
    masks = torch.tensor([True, False]).cuda(), torch.tensor([False, True]).cuda()
    run = eager(model, precision)
    for trace in (False, True):
        run(*inputs, *masks, trace=trace)  # fills what is made once for a size
        torch.cuda.set_sync_debug_mode("error")
        try:
            run(*inputs, *masks, trace=trace)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("kind", ["swin", "lite"])
def test_a_recording_says_what_eager_says(kind):
    model = on_card(kind)
    runtime = CUDAGraphRuntime(model, "float32", "")
    masks = torch.tensor([True, False]).cuda(), torch.tensor([False, True]).cuda()
    for count, given in enumerate(((), masks, (), masks)):
        inputs = [image + count for image in card_pair(2, 96, 128)]
        ours, theirs = runtime(*inputs, *given, trace=True), eager(model)(*inputs, *given, trace=True)
        assert ours.runtime == ("cudagraph" if count else "eager")
        assert_same_outputs(ours, theirs)
    without = runtime(*inputs, branches=("x",))
    assert without.trace is without.prompts is without.fused is without.rgb is None
    assert_same_outputs(runtime(*inputs), eager(model)(*inputs))


def test_results_are_not_overwritten_by_the_next_run():
    model = on_card()
    runtime = CUDAGraphRuntime(model, "float32", "", patience=0)
    first = card_pair()
    kept = runtime(*first, trace=True)
    runtime(*(image + 1 for image in first), trace=True)
    assert_same_outputs(kept, eager(model)(*first, trace=True))


def test_a_recording_outlives_what_the_network_forgets():
    model = on_card()
    runtime = CUDAGraphRuntime(model, "float32", "", patience=0)
    first = card_pair(1, 96, 128)
    runtime(*first)
    for side in range(32, 32 * 12, 32):  # more sizes than the network remembers the windows of
        eager(model)(*card_pair(1, side, side + 32))
    garbage = [torch.full((1 << 20,), 7, device="cuda") for _ in range(64)]
    assert_same_outputs(runtime(*first, trace=True), eager(model)(*first, trace=True))
    del garbage


def test_recordings_are_bounded_and_follow_the_weights():
    model = on_card()
    runtime = CUDAGraphRuntime(model, "float32", "", patience=0)
    for width in range(32, 32 * (MAX_RECORDINGS + 4), 32):
        runtime(*card_pair(1, 64, width))
    assert len(runtime._recordings) == MAX_RECORDINGS
    inputs = card_pair(1, 64, 64)
    runtime(*inputs)
    with torch.no_grad():
        model.heads["fused"].classifier.weight.mul_(2)
        model.heads["fused"].fuse.weight.add_(0.1)
    ours = runtime(*inputs)
    assert ours.runtime == "cudagraph"
    assert_same_outputs(ours, eager(model)(*inputs))


def test_a_large_batch_is_not_recorded(monkeypatch):
    monkeypatch.setattr("ktb.inference.runtimes.cuda_graph.MAX_PIXELS", 64 * 96)
    runtime = CUDAGraphRuntime(on_card(), "float32", "", patience=0)
    assert runtime(*card_pair(2, 64, 96)).runtime == "eager"
    assert runtime(*card_pair(1, 64, 96)).runtime == "cudagraph"


def test_several_threads_may_use_a_recording():
    model = on_card()
    runtime = CUDAGraphRuntime(model, "float32", "", patience=0)
    images = [tuple(image + number for image in card_pair(1, 64, 96)) for number in range(4)]
    wanted = [eager(model)(*inputs) for inputs in images]
    found: dict[int, list] = {number: [] for number in range(4)}

    def use(number: int) -> None:
        found[number] = [runtime(*images[number]) for _ in range(20)]

    threads = [threading.Thread(target=use, args=(number,)) for number in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number, outputs in found.items():
        assert len(outputs) == 20
        for output in outputs:
            assert_same_outputs(output, wanted[number])


def test_auto_takes_recordings_on_a_card(monkeypatch):
    monkeypatch.delenv("KTB_RUNTIME")
    runtime = make_runtime(on_card())
    assert runtime.name == "cudagraph"
    assert "CUDA graph" in runtime.why
    with pytest.raises(ValueError, match="computes on the CPU, but the model is on 'cuda"):
        make_runtime(on_card(), "openvino")


@pytest.mark.parametrize("runtime", ["eager", "cudagraph"])
def test_a_predictor_gives_the_labels_of_the_cpu(runtime):
    rgb, x = read_image_rgb(EXAMPLES / "bedroom_rgb.png"), read_x(EXAMPLES / "bedroom_depth.png")
    theirs = Predictor(load_model("ktb-lite-nyuv2-depth"), runtime="eager")(rgb, x)
    predictor = Predictor(load_model("ktb-lite-nyuv2-depth", "cuda"), runtime=runtime)
    for _ in range(2):
        ours = predictor(rgb, x)
        for branch in BRANCHES:
            assert ours.labels[branch].dtype == np.uint8
            assert (ours.labels[branch] == theirs.labels[branch]).mean() >= 0.999
            assert np.abs(ours.confidences[branch] - theirs.confidences[branch]).max() < 1e-2
            assert ours.logits[branch].device.type == "cpu"
    assert (ours.device, ours.runtime) == ("cuda", runtime)
    ours_maps, theirs_maps = (Inspection(prediction).maps(2) for prediction in (ours, theirs))
    assert np.abs(ours_maps.balance - theirs_maps.balance).max() < 1e-3
    for one in (ours, theirs):
        assert Inspection(one).pixel(2, (0.4, 0.6)) is not None


def test_bfloat16_labels_agree_on_a_card():
    rgb, x = read_image_rgb(EXAMPLES / "bedroom_rgb.png"), read_x(EXAMPLES / "bedroom_depth.png")
    model = load_model("ktb-lite-nyuv2-depth", "cuda")
    full, low = (Predictor(model, precision=p, runtime="cudagraph") for p in ("float32", "bfloat16"))
    for _ in range(2):
        ours, theirs = low(rgb, x), full(rgb, x)
    assert ours.runtime == theirs.runtime == "cudagraph"
    assert (ours.labels["fused"] == theirs.labels["fused"]).mean() >= 0.98


def test_deciding_on_a_card_is_deciding_on_the_cpu():
    logits = torch.randn(1, 7, 30, 41, generator=torch.Generator().manual_seed(0))
    for via, most in ((None, None), ((120, 164), None), ((120, 164), 40_000)):
        each = (Upsampling(t, (231, 317), via, values_at_once=most) for t in (logits.cuda(), logits))
        found = ((labels_of(upsampling), confidence_of(upsampling)) for upsampling in each)
        ours, theirs = ([values.cpu().numpy() for values in pair] for pair in found)
        assert (ours[0] == theirs[0]).mean() > 0.9999
        assert np.abs(ours[1] - theirs[1]).max() < 1e-5


def test_attribution_on_a_card():
    rgb, x = read_image_rgb(EXAMPLES / "bedroom_rgb.png"), read_x(EXAMPLES / "bedroom_depth.png")
    found = []
    for device in ("cuda", "cpu"):
        predictor = Predictor(load_model("ktb-lite-nyuv2-depth", device), runtime="eager")
        target = Target("pixel", pixel=(200, 300))
        found.append(attribute_prediction(predictor, rgb, predictor(rgb, x).x, target))
    assert found[0].value == pytest.approx(found[1].value, abs=1e-2)


def test_the_command_writes_everything(tmp_path):
    pair = ("--rgb", EXAMPLES / "bedroom_rgb.png", "--x", EXAMPLES / "bedroom_depth.png")
    more = ("--device", "cuda", "--report", "--figure", "svg", "--arrays", "--precision", "bfloat16")
    ended = CliRunner().invoke(app, ["predict", *map(str, pair), *more, "--out", str(tmp_path)])
    assert ended.exit_code == 0, ended.output
    assert {"report.html", "figure.svg", "arrays.npz"} <= {path.name for path in tmp_path.iterdir()}


def test_many_pairs_run_in_batches(tmp_path):
    rgb, x = (str(EXAMPLES / f"{{name}}_{kind}.png") for kind in ("rgb", "depth"))
    command = ["predict", "--rgb-dir", rgb, "--x-dir", x, "--device", "cuda", "--batch-size", "2"]
    ended = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "many")])
    assert ended.exit_code == 0, ended.output
    assert len(list((tmp_path / "many" / "labels").iterdir())) == len(list(EXAMPLES.glob("*_depth.png")))


@pytest.mark.parametrize("runtime", ["eager", "cudagraph"])
def test_a_run_that_a_card_has_no_memory_for_gives_all_of_it_back(runtime):
    predictor = Predictor(load_model("ktb-lite-nyuv2-depth", device="cuda"), runtime=runtime, tile=None)
    large = Predictor(predictor.model, short_side=2048, runtime="eager", tile=None)
    photo = np.zeros((480, 640, 3), np.uint8)
    before = predictor(photo, None).labels["fused"]
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((held + (300 << 20)) / total)
    try:
        with pytest.raises(OutOfMemory, match=r"on cuda for an image of .* Make the RGB image"):
            large(np.zeros((2048, 3072, 3), np.uint8), None)
        assert torch.cuda.memory_allocated() <= held + (1 << 20)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert np.array_equal(predictor(photo, None).labels["fused"], before)
