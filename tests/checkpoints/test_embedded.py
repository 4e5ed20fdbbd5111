"""The embedded model: small, described, good on real frames, and its attention says something."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from safetensors import safe_open

from app.widgets.examples import examples
from ktb import Predictor, load_model, read_image_rgb, read_x
from ktb.checkpoints.files import CHECKSUM, contents_sha256
from ktb.checkpoints.metadata import read_header
from ktb.checkpoints.registry import DEFAULT_MODEL, built_in_models
from training.data.datasets import build_dataset
from training.data.pairs import PairFolder, is_night
from training.evaluate_boxes import evaluate_boxes
from training.evaluation.evaluator import evaluate
from training.events.simulator import EventOptions
from training.robustness.corruptions import Corruption
from training.simulate_events import simulate_folder

EVENT_MODEL = "ktb-lite-nyuv2-event"
STREET_MODEL = "ktb-lite-street-thermal"
SIX = range(5, 327, 54)
"""Frames spread over the test split."""


@pytest.fixture(scope="module")
def model():
    return load_model(DEFAULT_MODEL)


def test_the_file_is_small_and_its_card_complete():
    path = built_in_models()[DEFAULT_MODEL]
    assert path.stat().st_size <= 15e6
    config, card = read_header(path)
    assert config.name == DEFAULT_MODEL
    for key in ("data", "split", "protocol", "commands", "hours", "limits", "recipe"):
        assert card[key], key
    assert card["images"] == 327
    assert path.with_suffix(".md").is_file()
    figures = {branch: card["figures"][branch]["miou"] for branch in ("fused", "rgb", "x")}
    assert figures["fused"] >= max(37.0, figures["rgb"] + 3, figures["x"] + 3)
    assert figures["rgb"] >= 28
    assert figures["x"] >= 26


def test_no_card_names_a_folder_of_the_machine_that_wrote_it():
    for path in built_in_models().values():
        text = json.dumps(read_header(path)[1])
        assert not re.findall(r"""[\s"'=]/\w[^\s"']*""", text), path.name


def test_every_embedded_file_carries_the_checksum_of_its_contents():
    for path in built_in_models().values():
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        assert metadata[CHECKSUM] == contents_sha256(metadata, tensors)


@pytest.fixture(scope="module")
def frames(shared):
    data = shared / "data" / "NYUDepthv2"
    if not data.is_dir():
        pytest.skip("the NYUv2 frames are not beside this checkout")
    return build_dataset("nyuv2", data, "test")


@pytest.fixture(scope="module")
def result(model, frames):
    return evaluate(model, frames, indices=SIX, attention=True)


def test_real_frames_score_as_the_card_says(result):
    _, card = read_header(built_in_models()[DEFAULT_MODEL])
    for branch in ("fused", "rgb", "x"):
        whole = card["figures"][branch]["pixel_accuracy"]
        assert result[branch]["pixel_accuracy"] == pytest.approx(whole, abs=10), branch
    entropies = [level["entropy"] for level in result["attention"]]
    spreads = [level["balance_std"] for level in result["attention"]]
    assert sum(entropy <= 0.85 for entropy in entropies) >= 3
    assert sum(spread >= 0.03 for spread in spreads) >= 2


@pytest.mark.parametrize(
    ("name", "expected"), [("Bedroom", "bed"), ("Kitchen", "cabinet"), ("Office", "chair")]
)
def test_examples_get_sensible_masks(model, name, expected):
    rgb, depth, _ = next(pair for pair in examples() if pair[2] == name)
    raw = read_x(depth)
    assert raw.data.dtype == np.uint16
    prediction = Predictor(model)(read_image_rgb(rgb), raw, trace=False)
    shares = {row.name: row.share for row in prediction.class_table()}
    assert shares["wall"] > 0.05
    assert shares["floor"] > 0.05
    assert shares.get(expected, 0) > 0.01


def test_depth_reaches_the_fused_mask(model):
    """Without X tokens the answer changes: the fusion is no copy of the RGB image's stream."""
    rgb, depth, _ = examples()[0]
    predictor = Predictor(model)
    photo = read_image_rgb(rgb)
    reading = predictor.read(read_x(depth), photo.shape[:2])
    tensors = [torch.from_numpy(i).permute(2, 0, 1)[None] for i in (photo / np.float32(255), reading.image)]
    inputs = model.normalize_rgb(tensors[0]), model.normalize_x(tensors[1])
    with torch.inference_mode():
        both = model(*inputs).fused.argmax(1)
        alone = model(*inputs, mask_x=torch.tensor([True])).fused.argmax(1)
    assert (both != alone).float().mean() > 0.02


def test_without_depth_most_of_the_figure_is_kept(model, frames, result):
    """The promise is 60 % of the fused mIoU on the test split; here six of its frames."""
    alone = evaluate(model, frames, indices=SIX, missing="x")
    assert alone["fused"]["miou"] >= 0.6 * result["fused"]["miou"]


def test_the_event_model_says_that_its_events_are_simulated():
    path = built_in_models()[EVENT_MODEL]
    assert path.stat().st_size <= 25e6
    config, card = read_header(path)
    assert (config.name, config.inputs.modality) == (EVENT_MODEL, "event")
    assert "simulated events" in card["data"]
    assert "simulated events" in path.with_suffix(".md").read_text()
    assert card["images"] == 327


@pytest.fixture(scope="module")
def event_frames(shared, tmp_path_factory):
    """Eight test frames with the events that the simulator makes of them."""
    data = shared / "data" / "NYUDepthv2"
    if not data.is_dir():
        pytest.skip("the NYUv2 frames are not beside this checkout")
    root = tmp_path_factory.mktemp("events")
    names = (data / "test.txt").read_text().split()[5::45]
    (root / "test.txt").write_text("\n".join(names))
    for folder, suffix in (("RGB", "jpg"), ("Label", "png")):
        (root / folder).mkdir()
        for name in names:
            (root / folder / f"{name}.{suffix}").symlink_to(data / folder / f"{name}.{suffix}")
    simulate_folder(str(root / "RGB"), root / "Event", EventOptions(margin_px=12))
    return build_dataset("nyuv2", root, "test", modality="event", cache=True)


@pytest.mark.parametrize(("name", "level"), [("dark", 0.1), ("blur", 4)])
def test_events_help_where_the_rgb_image_is_bad(event_frames, name, level):
    result = evaluate(load_model(EVENT_MODEL), event_frames, corruption=Corruption(name, level))
    assert result["fused"]["pixel_accuracy"] > result["rgb"]["pixel_accuracy"]


def test_the_street_model_says_what_it_saw_and_what_nobody_measured():
    path = built_in_models()[STREET_MODEL]
    assert path.stat().st_size <= 15e6
    config, card = read_header(path)
    assert (config.name, config.inputs.modality, config.dataset) == (STREET_MODEL, "thermal", "camvid")
    assert config.inputs.stretch_pictures
    assert "figures" not in card  # no pixel of a real pair has a label
    text = path.with_suffix(".md").read_text()
    for words in ("simulated thermal", "weak labels", "No RGB-thermal mIoU was measured"):
        assert words in text
    night = card["boxes"]["both"]["night"]["fused"]["person"]
    assert night["found"] >= 70
    assert night["boxes"] > 100


def test_by_night_the_street_model_finds_people_with_its_thermal_image(shared):
    data = shared / "data" / "MSRS"
    if not data.is_dir():
        pytest.skip("the MSRS pairs are not beside this checkout")
    model = load_model(STREET_MODEL)
    folder = PairFolder(data, model.config.inputs, "val")
    pairs = [folder[index] for index, name in enumerate(folder.names) if is_night(name)][::6]
    result = evaluate_boxes(model, pairs, present=("both", "rgb only"))
    found, alone = (result[key]["night"]["fused"]["person"]["found"] for key in ("both", "rgb only"))
    assert found >= 60
    assert found > alone
