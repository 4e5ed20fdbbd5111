"""ZeroGPU, with a stand-in for the package `spaces` that makes its calls in another process, as Spaces do."""

from __future__ import annotations

import dataclasses
import importlib
import pickle
import sys
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from helpers.pairs import synthetic_pair
from helpers.videos import frames_of, rows_of, zipped

from app import predictors
from app.page import build_page, launch_options
from app.service import Service
from app.spaces import zero_gpu
from app.spaces.zero_gpu import ZeroGPURuntime, lent, seconds_of_attribution, seconds_of_run
from ktb import Predictor, load_model
from ktb.analysis.attribution import attribute_prediction
from ktb.analysis.targets import Target
from ktb.video.run import open_frames, run_sequence
from tools.bench_page.visitor import Refused, Visitor

SPACES = """
import multiprocessing, os, pickle

calls = []  # (seconds asked for, bytes of the question, bytes of the answer)

def GPU(task=None, *, duration=60):
    def decorate(task):
        def called(*args):
            fork = multiprocessing.get_context("fork")  # as Spaces do: the model is there already
            asked, answered = fork.SimpleQueue(), fork.SimpleQueue()
            worker = fork.Process(target=work, args=(task, asked, answered))
            worker.start()
            question = pickle.dumps(args)
            asked.put(question)
            answer, process = answered.get()
            worker.join()
            seconds = duration(*args) if callable(duration) else duration
            assert process != os.getpid()
            calls.append((seconds, len(question), len(answer)))
            return pickle.loads(answer)
        return called
    return decorate if task is None else decorate(task)

def work(task, asked, answered):
    answered.put((pickle.dumps(task(*pickle.loads(asked.get()))), os.getpid()))
"""

pytestmark = pytest.mark.usefixtures("one_thread")  # a fork takes no other threads along


@pytest.fixture(scope="module")
def spaces(tmp_path_factory):
    """The stand-in, in what says that it is a ZeroGPU Space; models meant for its card stay on the CPU."""
    folder = tmp_path_factory.mktemp("stand_in")
    (folder / "spaces.py").write_text(SPACES)
    environment = pytest.MonkeyPatch()
    environment.syspath_prepend(folder)
    environment.setenv("SPACES_ZERO_GPU", "true")
    placed: list[tuple[str, str]] = []

    def load(path, device):
        placed.append((path.stem, device))
        return load_model(path, "cpu")

    environment.setattr(predictors, "load_model", load)
    module = importlib.import_module("spaces")
    module.placed = placed
    yield module
    environment.undo()
    del sys.modules["spaces"]


class QuickService(Service):
    """Its networks see small pictures."""

    def predictor(self, model):
        found = super().predictor(model)
        found.short_side = 64
        return found


@pytest.fixture(scope="module")
def service(spaces):
    found = QuickService(runtime="openvino")  # which is not used there
    found.move_models_to_gpu()
    return found


@pytest.fixture(scope="module")
def plain():
    """The same network, here."""
    return Predictor(load_model("ktb-lite-nyuv2-depth"), short_side=64, runtime="eager")


@pytest.fixture
def calls(spaces):
    spaces.calls.clear()
    return spaces.calls


def test_every_model_is_put_on_the_card_before_the_launch(spaces, service):
    assert set(spaces.placed) == {(name, device) for name in service.models for device in ("cpu", "cuda")}
    assert service.loaded == service.models
    for name in service.models:
        runtime = service.predictor(name).runtime
        assert isinstance(runtime, ZeroGPURuntime)
        assert (runtime.name, runtime.precision) == ("eager", "float32")
        assert service.predictor(name).for_frames().runtime is runtime


def test_no_first_run_is_made_without_a_visitor(service, calls):
    service.warm_up()
    assert service.is_warm
    assert calls == []


def assert_same(found, expected) -> None:
    """Two nests of dataclasses hold the same numbers."""
    assert type(found) is type(expected)
    if dataclasses.is_dataclass(found):
        for field in dataclasses.fields(found):
            if field.name not in ("seconds", "why"):
                assert_same(getattr(found, field.name), getattr(expected, field.name))
    elif isinstance(found, tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            assert_same(one, other)
    elif isinstance(found, Mapping):
        assert_same(tuple(found.values()), tuple(expected.values()))
    elif isinstance(found, torch.Tensor):
        assert torch.equal(found, expected)
    elif isinstance(found, np.ndarray):
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("options", [{}, {"drop": "x", "trace": False}, {"drop": "rgb"}])
def test_an_answer_from_the_other_process_is_the_network_s_own(service, plain, calls, options):
    photo, depth = synthetic_pair()
    found = service.predictor("ktb-lite-nyuv2-depth")(photo, depth, **options)
    assert_same(found, plain(photo, depth, **options))
    assert len(calls) == 1
    assert pickle.loads(pickle.dumps(found)).labels.keys() == found.labels.keys()


def test_only_what_the_network_takes_and_gives_travels(service, calls):
    for size in ((150, 200), (600, 800)):
        service.predictor("ktb-lite-nyuv2-depth")(np.zeros((*size, 3), np.uint8), None)
    small, large = calls
    assert small == large  # whatever the RGB image's own size
    assert large[1] < 2.1 * 4 * 3 * 64 * 96  # two float32 images in the network's size


def test_an_attribution_is_computed_there_too(service, plain, calls):
    photo, depth = synthetic_pair()
    prediction = plain(photo, depth)
    target = Target("pixel", pixel=(60, 80))
    found = service.predictor("ktb-lite-nyuv2-depth").attribute(photo, prediction.x, target)
    expected = attribute_prediction(plain, photo, prediction.x, target)
    assert found.score == expected.score
    # a change of the input by 1e-7 changes single gradients by 4e-4: activations have kinks
    np.testing.assert_allclose(found.x, expected.x, atol=0.03 * np.abs(expected.x).max())
    assert np.corrcoef(found.x.ravel(), expected.x.ravel())[0, 1] > 0.999
    assert found.without_x == pytest.approx(expected.without_x, abs=1e-3)
    assert len(calls) == 1


def test_what_a_user_can_mend_is_told_in_its_own_words(service, calls):
    photo, depth = synthetic_pair()
    reading = service.predictor("ktb-lite-nyuv2-depth").read(depth, photo.shape[:2])
    with pytest.raises(ValueError, match="class 1000 does not exist: the model has classes 0 to 39"):
        service.predictor("ktb-lite-nyuv2-depth").attribute(photo, reading, Target("class", class_index=1000))
    with pytest.raises(ValueError, match="the RGB image is shape"):
        service.predictor("ktb-lite-nyuv2-depth")(photo[0], depth)
    assert len(calls) == 1  # the RGB image was refused here


def test_a_lack_of_memory_is_raised_here_as_it_was_there(spaces, calls):
    def too_large(array):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        lent(too_large, seconds_of_run)(np.zeros((1, 3, 32, 32), np.float32))


def test_sixty_frames_of_a_video_take_four_to_eight_calls(service, plain, calls, tmp_path):
    """The same table as frame by frame, here of more than one call; only logits and balance maps travel."""
    lent_frames = service.predictor("ktb-lite-nyuv2-depth").for_frames()
    lent_frames.short_side = 64
    tables = []
    for predictor, count in ((lent_frames, 60), (plain, 15)):
        archive = zipped(tmp_path / f"{count}.zip", frames_of(count))
        result = run_sequence(predictor, open_frames(archive), tmp_path / str(count))
        assert (result.frames, result.failed, result.stopped) == (count, 0, False)
        tables.append(rows_of(result.table))
    for ours, theirs in zip(tables[0][:15], tables[1], strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"seconds"}:
            assert ours[name] == theirs[name] or float(ours[name]) == pytest.approx(
                float(theirs[name]), abs=1e-3
            )
    assert 4 <= len(calls) <= 8
    assert (
        sum(answer for _, _, answer in calls) < 60 * 1.1 * 3 * 4 * 40 * 16 * 24
    )  # float32 logits of 3 heads
    assert all(seconds <= zero_gpu.MAX_SECONDS_OF_FRAMES for seconds, _, _ in calls)


def test_large_frames_share_a_call_within_its_time(service):
    runtime = service.predictor("ktb-lite-nyuv2-depth").runtime
    sizes = [(64, 96), (480, 640), (1088, 1920), (2176, 3840)]
    assert [runtime.frames_at_once(size) for size in sizes] == [12, 12, 4, 1]


def test_seconds_grow_with_the_image_and_have_bounds():
    def image(height: int, width: int, batch: int = 1) -> np.ndarray:
        return np.broadcast_to(np.float32(0), (batch, 3, height, width))

    sizes = [(32, 32), (384, 512), (480, 640), (1088, 1920), (2176, 3840)]
    found = [seconds_of_run(image(*size)) for size in sizes]
    assert found == [11, 11, 11, 15, 84]
    asked = [seconds_of_attribution(image(*size)) for size in sizes]
    assert asked == [11, 11, 11, 34, zero_gpu.MAX_SECONDS]
    assert all(isinstance(seconds, int) for seconds in found + asked)
    assert seconds_of_run(image(1088, 1920, batch=8)) > found[3]


@pytest.fixture(scope="module")
def address(service, tmp_path_factory):
    environment = pytest.MonkeyPatch()
    environment.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
    page = build_page(service)
    _, url, _ = page.queue().launch(prevent_thread_lock=True, quiet=True, **launch_options())
    yield url
    page.close()
    environment.undo()


def test_all_that_the_page_computes_goes_through_the_lent_card(address, calls, tmp_path):
    def made() -> int:
        number = len(calls)
        calls.clear()
        return number

    with Visitor(address) as visitor:
        visitor.choose_example(0)
        assert "on cpu, eager float32" in visitor.shown("ktb-foot")
        assert made() == 1
        visitor.set("ktb-question", '{"at": [0.5, 0.5], "pixel": [240, 320], "about": "pixel"}')
        assert made() == 1
        visitor.set("ktb-off", "x")
        assert made() == 1
        visitor.fire("ktb-measure")
        assert made() == 2
        visitor.set("ktb-other-model", "ktb-lite-nyuv2-event")
        visitor.fire("ktb-run-compare")
        assert made() == 1
        visitor.values[visitor.part("ktb-recording")] = visitor.upload(
            zipped(tmp_path / "two.zip", frames_of(2))
        )
        visitor.fire("ktb-run-frames")
        assert made() == 1
        visitor.set("ktb-unit", "mm", "select")  # reads X only
        assert made() == 0
        visitor.values[visitor.part("ktb-rgb")] = None
        with pytest.raises(Refused, match="RGB image is missing"):
            visitor.fire("ktb-run")
        assert made() == 0
