"""What is fitted to a trained model: temperatures (`training.calibrate`) and the domain check."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

from ktb import Predictor, XOptions, load_model, save_model
from ktb.checkpoints.card import figure_tables
from ktb.config import BRANCHES, UNCALIBRATED, InputConfig
from ktb.inputs import NEAR_DARK
from ktb.modeling.build import build_model, lite_config
from ktb.modeling.model import KTBOutput
from training import calibrate, domain
from training.data.datasets import build_dataset
from training.data.datasets.sample import Sample
from training.evaluation.calibration import BINS, STRIDE, Reliability, fit_temperatures, measure
from training.evaluation.domain import auroc, case_features, fit_case, flagged_share, gaussian_of

SHARPER = 2.5
CELLS = 16, 24
SIZE = CELLS[0] * STRIDE, CELLS[1] * STRIDE


class Frames:
    """Frames whose labels are drawn from the softmax of known logits."""

    name, split = "frames", "test"

    def __init__(self):
        torch.manual_seed(0)
        self.logits = 1.5 * torch.randn(4, 3, *CELLS)
        draws = torch.distributions.Categorical(logits=self.logits.permute(0, 2, 3, 1))
        self.labels = draws.sample().numpy().astype(np.uint8)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        rgb = np.full((*SIZE, 3), index, np.uint8)
        label = np.repeat(np.repeat(self.labels[index], STRIDE, 0), STRIDE, 1)
        return Sample(str(index), rgb, rgb[..., 0], label)


class Network(torch.nn.Module):
    """Returns the logits of the frame whose number its RGB image holds, times SHARPER for the fused head."""

    def __init__(self, frames):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.frames, self.config = frames, lite_config()

    normalize_rgb = normalize_x = staticmethod(lambda image: image)

    def forward(self, rgb, modal_x, mask_x=None, logits_hw=None):
        logits = self.frames.logits[round(255 * float(rgb.mean()))][None]
        return KTBOutput(fused=SHARPER * logits, rgb=logits, x=logits)


@pytest.fixture
def network(monkeypatch):
    """Without interpolation, which would make the drawn labels' probabilities others than those known."""
    monkeypatch.setattr("training.evaluation.calibration.logits_at", lambda logits, *places: logits[0])
    return Network(Frames())


def test_the_fit_finds_the_temperature_that_makes_confidences_true(network):
    found = fit_temperatures(network, network.frames, range(4), ["both"])
    assert found[1] == pytest.approx(1, rel=0.1)
    assert found[0] / found[1] == pytest.approx(SHARPER, rel=0.01)
    measured = measure(network, network.frames, range(4), found, ["both"])["both"]
    assert measured["fused"]["before"]["ece"] > 10
    assert measured["fused"]["after"]["ece"] < measured["fused"]["before"]["ece"] / 2
    assert measured["fused"]["before"]["accuracy"] == measured["fused"]["after"]["accuracy"]


def test_the_error_is_the_mean_gap_of_the_bins():
    found = Reliability()
    found.update(torch.tensor([0.95, 0.95, 0.55, 1.0]), torch.tensor([True, False, True, True]))
    assert found.error() == pytest.approx(100 * (abs(2 - 2.9) + abs(1 - 0.55)) / 4, abs=1e-4)
    report = found.report()
    assert len(report["bins"]) == BINS
    assert sum(share for share, _, _ in report["bins"]) == pytest.approx(1, abs=1e-4)
    assert np.isnan(Reliability().error())


@pytest.fixture
def root(tmp_path):
    for folder in ("RGB", "Depth", "Label"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    for name in ("0001", "0002", "0003"):
        cv2.imwrite(str(tmp_path / f"RGB/{name}.jpg"), rng.integers(0, 255, (60, 90, 3), dtype=np.uint8))
        cv2.imwrite(str(tmp_path / f"Depth/{name}.png"), rng.integers(20, 200, (60, 90), dtype=np.uint8))
        cv2.imwrite(str(tmp_path / f"Label/{name}.png"), rng.integers(0, 6, (60, 90), dtype=np.uint8))
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text("0001\n0002\n0003\n")
    return tmp_path


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    inputs = InputConfig(modality="depth", encoding="depth", short_side=64)
    path = tmp_path / "model.safetensors"
    save_model(path, build_model(lite_config("nyuv2", inputs)), {"data": "made"}, torch.float16)
    return path


def test_the_command_keeps_the_weights_and_adds_temperatures_and_a_card(root, model, tmp_path):
    out = tmp_path / "calibrated.safetensors"
    arguments = ["--model", str(model), "--dataset", "nyuv2", "--data", str(root)]
    measured = ["--measure", "test", "--conditions", "both", "no-x", "--remark", "Made up."]
    calibrate.main([*arguments, "--out", str(out), *measured])
    with safe_open(model, "pt") as before, safe_open(out, "pt") as after:
        names = list(before.keys())
        assert sorted(after.keys()) == sorted(names)
        for name in names:
            assert torch.equal(before.get_tensor(name), after.get_tensor(name))
            assert before.get_tensor(name).dtype == after.get_tensor(name).dtype
    old, new = load_model(model), load_model(out)
    assert old.config.temperatures == UNCALIBRATED
    assert dataclasses.replace(new.config, temperatures=UNCALIBRATED) == old.config
    assert new.card["data"] == "made"
    found = new.card["calibration"]
    assert tuple(found["temperatures"][branch] for branch in BRANCHES) == new.config.temperatures
    assert found["fitted_on"] == "3 frames: nyuv2 train"
    assert found["command"].startswith("python -m training.calibrate --model model.safetensors --dataset")
    assert str(tmp_path) not in json.dumps(new.card)  # a card is for others
    assert set(found["measured"]) == {"both", "no-x"}
    assert json.dumps(found)
    assert (tmp_path / "calibrated_reliability.svg").read_text().startswith("<?xml")
    table = "\n".join(figure_tables(new.card))
    assert "fitted on 3 frames: nyuv2 train. Made up." in table
    assert "| condition | fused | rgb | x |" in table
    assert table.count(" → ") == 6 + 1


def test_frames_that_training_saw_raise_no_confidence(root, model, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrate, "fit_temperatures", lambda *_: (0.8, 1.3, 0.9))
    out = tmp_path / "calibrated.safetensors"
    given = ["--model", str(model), "--dataset", "nyuv2", "--data", str(root), "--out", str(out)]
    calibrate.main([*given, "--seen", "--remark", "Made up."])
    fitted = load_model(out)
    assert fitted.config.temperatures == (1.0, 1.3, 1.0)
    assert fitted.card["calibration"]["remark"].startswith("Made up. The model was trained on the frames")


def test_temperatures_may_be_given(root, model, tmp_path):
    out = tmp_path / "calibrated.safetensors"
    given = ["--model", str(model), "--dataset", "nyuv2", "--data", str(root), "--out", str(out)]
    calibrate.main(
        [*given, "--temperatures", "1.4", "1.5", "1.3", "--remark", "Made up.", "--measure", "test"]
    )
    found = load_model(out)
    assert found.config.temperatures == (1.4, 1.5, 1.3)
    assert "Made up." in "\n".join(figure_tables(found.card))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-fit"], "--no-fit needs --measure SPLIT"),
        (["--held-out", "1.5"], "--held-out is 1.5; give the val_fraction"),
        (["--every", "0"], "--every is 0; give 1 for all images"),
        (["--temperatures", "1", "0", "1"], "--temperatures 1 0 1: give three positive numbers"),
        (["--temperatures", "1", "2", "1"], "--temperatures needs --remark"),
    ],
)
def test_mistakes_are_told(root, model, tmp_path, capsys, arguments, message):
    given = ["--model", str(model), "--dataset", "nyuv2", "--data", str(root), "--out", str(tmp_path / "o")]
    with pytest.raises(SystemExit):
        calibrate.main(given + arguments)
    assert message in capsys.readouterr().err


def test_the_domain_command_adds_statistics_that_the_predictor_uses(root, model, tmp_path):
    out = tmp_path / "checked.safetensors"
    arguments = ["--model", str(model), "--dataset", "nyuv2", "--data", str(root), "--rank", "1"]
    arguments += ["--trained-on", "three made frames", "--measure", "test", "--quantile", "1"]
    domain.main([*arguments, "--out", str(out)])
    loaded = load_model(out)
    found = loaded.card["domain"]
    assert found["fitted_on"] == "3 frames: nyuv2 train"
    assert str(tmp_path) not in json.dumps(loaded.card)
    assert set(found["flagged"]["1 of the light"]) == {"rgb", "x", "rgb_alone", "x_alone"}
    assert set(found["flagged"]["0.25 of the light"]) == {"rgb", "x", "rgb_alone"}
    table = "\n".join(figure_tables(loaded.card))
    assert "| RGB image with | rgb | x | rgb_alone | x_alone |" in table
    assert "| 1 of the light | 0.0 | 0.0 | 0.0 | 0.0 |" in table
    frames = build_dataset("nyuv2", root, "train")
    features = case_features(loaded, frames, [0], (1, 2, 3))
    predictor = Predictor(loaded)
    for x, cases in ((frames[0].modal_x, {"rgb": "rgb", "x": "x"}), (None, {"rgb": "rgb_alone"})):
        prediction = predictor(frames[0].rgb, x, options=XOptions(unit=NEAR_DARK))
        assert prediction.domain.trained_on == "three made frames"
        for stream, case in cases.items():
            gaussian = loaded.domain.cases[case]
            threshold = loaded.config.domain.thresholds[list(features).index(case)]
            expected = float(gaussian(features[case][0, 0])) / threshold
            assert prediction.domain.distances[stream] == pytest.approx(expected, rel=1e-3)
    with pytest.raises(SystemExit):
        domain.main([*arguments[:6], "--rank", "48", "--trained-on", "x", "--out", str(out)])


def test_cross_fitted_thresholds_hold_for_other_frames():
    torch.manual_seed(0)
    mixing = torch.randn(5, 60)
    made = torch.randn(1, 900, 5) @ mixing + 0.3 * torch.randn(1, 900, 60)
    buffers, threshold, distances = fit_case(made[:, :400], 5, 0.99)
    assert distances.shape == (1, 400)
    gaussian = gaussian_of(buffers)
    assert 0.002 < flagged_share(gaussian(made[:, 400:]), threshold) < 0.025
    assert flagged_share(gaussian(2 * made[:, 400:]), threshold) > 0.5
    assert auroc(gaussian(made[:, 400:]), gaussian(2 * made[:, 400:])) > 0.9
    assert auroc(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])) == 1


def test_the_domain_needs_a_name_and_statistics(root, model, tmp_path, capsys):
    given = ["--model", str(model), "--dataset", "nyuv2", "--data", str(root), "--out", str(tmp_path / "o")]
    for arguments, message in (
        ([], "--trained-on is missing"),
        (["--trained-on", "x"], "3 frames are too few for a rank of 32"),
        (["--no-fit", "--measure", "test"], "has no domain check"),
        (["--no-fit"], "--no-fit needs --measure SPLIT"),
    ):
        with pytest.raises(SystemExit):
            domain.main(given + arguments)
        assert message in capsys.readouterr().err
