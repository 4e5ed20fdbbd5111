"""Evaluation on a made data set in NYUv2's layout."""

import json
import math

import cv2
import numpy as np
import pytest
import torch

from ktb.build import build_model, lite_config
from ktb.checkpoint import save_model
from ktb.labels import DATASETS
from ktb.modalities import NEAR_DARK
from ktb.model import KTBOutput
from ktb.predictor import Predictor
from training import evaluate as evaluation
from training.datasets import build_dataset
from training.evaluate import evaluate
from training.metrics import ConfusionMatrix

HEIGHT, WIDTH = 60, 90


@pytest.fixture
def root(tmp_path):
    """Two frames: left half class 0 (wall), right half class 4 (chair), a row of void; X tells the class."""
    for folder in ("RGB", "Depth", "Label"):
        (tmp_path / folder).mkdir()
    for name in ("0001", "0002"):
        label = np.ones((HEIGHT, WIDTH), np.uint8)
        label[:, WIDTH // 2 :] = 5
        label[0] = 0
        depth = np.where(np.arange(WIDTH) < WIDTH // 2, 0, 200).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "RGB" / f"{name}.jpg"), np.full((HEIGHT, WIDTH, 3), 128, np.uint8))
        cv2.imwrite(str(tmp_path / "Depth" / f"{name}.png"), np.tile(depth, (HEIGHT, 1)))
        cv2.imwrite(str(tmp_path / "Label" / f"{name}.png"), label)
    (tmp_path / "test.txt").write_text("0001\n0002\n")
    return tmp_path


class Reader(torch.nn.Module):
    """Reads the class from X: fused and x are right, rgb always says class 0; keeps the sizes it saw."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.config = lite_config()
        self.sizes = []

    def normalize_rgb(self, rgb):
        return rgb.float() / 255

    def normalize_x(self, modal_x):
        return modal_x

    def forward(self, rgb, modal_x):
        self.sizes.append(tuple(rgb.shape[-2:]))
        assert modal_x.min() >= 0
        assert modal_x.max() <= 1
        assert rgb.max() <= 1
        right = torch.zeros(len(rgb), 40, *rgb.shape[-2:])
        right[:, 0], right[:, 4] = 0.4, modal_x[:, 0]
        wall = torch.zeros_like(right)
        wall[:, 0] = 1
        return KTBOutput(fused=right, rgb=wall, x=right)


@pytest.mark.parametrize("views", [{}, {"flip": True, "scales": (0.5, 1.0)}])
def test_scores_at_the_labels_resolution(root, views):
    model = Reader()
    result = evaluate(model, build_dataset("nyuv2", root, "test"), size=60, **views)
    assert model.sizes[0] == ((32, 64) if views else (64, 96))
    assert set(result) == {"fused", "rgb", "x", "images", "protocol"}
    assert result["images"] == 2
    assert result["fused"]["miou"] > 97  # not all: the edge between the halves is blurred
    assert result["x"] == result["fused"]
    rgb = result["rgb"]
    assert rgb["iou"]["wall"] == pytest.approx(50)
    assert rgb["iou"]["chair"] == 0
    assert rgb["miou"] == pytest.approx(25)
    assert rgb["pixel_accuracy"] == pytest.approx(50)
    assert rgb["class_accuracy"] == pytest.approx(50)
    assert rgb["iou"]["bed"] is None
    assert list(rgb["iou"]) == list(DATASETS["nyuv2"].classes)


def test_reference_protocol_counts_absent_classes(root):
    result = evaluate(Reader(), build_dataset("nyuv2", root, "test"), reference=True)
    assert result["rgb"]["miou"] == pytest.approx(50 / 40)
    assert "resized with the images" in result["protocol"]


def test_other_classes_are_refused(root):
    model = Reader()
    model.config = lite_config("mfnet")
    with pytest.raises(ValueError, match="9 classes"):
        evaluate(model, build_dataset("nyuv2", root, "test"))


def test_command_with_a_real_network(root, tmp_path):
    torch.manual_seed(0)
    save_model(tmp_path / "m.safetensors", build_model(lite_config()), {})
    command = (
        f"--model {tmp_path}/m.safetensors --dataset nyuv2 --data {root} --out {tmp_path}/out/scores.json"
    )
    evaluation.main([*command.split(), "--size", "64", "--limit", "1", "--attention", "--bf16"])
    text = (tmp_path / "out" / "scores.json").read_text()
    result = json.loads(text)
    assert "NaN" not in text
    assert result["images"] == 1
    assert result["split"] == "test"
    assert "bfloat16" in result["protocol"]
    assert [row["level"] for row in result["attention"]] == [0, 1, 2, 3]
    for row in result["attention"]:
        assert 0 < row["entropy"] <= 1.0001
        assert math.isfinite(row["balance_std"])
        assert row["balance_std"] >= 0


def test_command_line_messages(root, tmp_path, capsys):
    with pytest.raises(SystemExit):
        evaluation.main(f"--model none --dataset nyuv2 --data {root} --split val --out {tmp_path}/o".split())
    assert "train, test" in capsys.readouterr().err


def test_evaluation_scores_exactly_what_the_predictor_shows(root):
    rng = np.random.default_rng(0)
    for name in ("0001", "0002"):
        photo = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        cv2.imwrite(str(root / "RGB" / f"{name}.jpg"), photo)
        cv2.imwrite(
            str(root / "Depth" / f"{name}.png"), rng.integers(20, 256, (HEIGHT, WIDTH), dtype=np.uint8)
        )
    torch.manual_seed(0)
    model = build_model(lite_config())
    dataset = build_dataset("nyuv2", root, "test")
    result = evaluate(model, dataset, size=64)
    matrix = ConfusionMatrix(40)
    predictor = Predictor(model, short_side=64)
    for index in range(len(dataset)):
        sample = dataset[index]
        labels = predictor(sample.rgb, sample.modal_x, unit=NEAR_DARK).labels["fused"]
        matrix.update(torch.from_numpy(labels), torch.from_numpy(sample.label))
    assert result["fused"]["pixel_accuracy"] == pytest.approx(matrix.scores().pixel_accuracy, abs=1e-9)
    assert result["fused"]["miou"] == pytest.approx(matrix.scores().miou, abs=1e-9)
