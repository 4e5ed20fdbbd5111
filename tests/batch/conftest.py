"""Fixtures that tests of this room share."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from helpers.models import stirred, tiny_swin_config
from helpers.pairs import synthetic_pair
from PIL import Image

from ktb import save_model
from ktb.config import InputConfig
from ktb.inference.predictor import Predictor
from ktb.modeling.build import build_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    inputs = InputConfig(modality="depth", encoding="depth", short_side=64)
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    network = stirred(build_model(dataclasses.replace(tiny_swin_config(), name="tiny", inputs=inputs)))
    save_model(path, network, {})
    return path


@pytest.fixture
def data(tmp_path):
    """Four pairs that differ in everything but their kind: format, size, file type, sub-folder."""
    photo, depth = synthetic_pair(80, 120)
    for folder in ("rgb/sub", "x/sub"):
        (tmp_path / folder).mkdir(parents=True)
    Image.fromarray(photo).save(tmp_path / "rgb/a.png")
    cv2.imwrite(str(tmp_path / "x/a.png"), depth)
    Image.fromarray(photo[:, ::-1]).save(tmp_path / "rgb/b.jpg")
    np.save(tmp_path / "x/b.npy", depth[:, ::-1].astype(np.float32) / 1000)
    Image.fromarray(photo).convert("L").save(tmp_path / "rgb/c.png")
    cv2.imwrite(str(tmp_path / "x/c.tiff"), depth[::2, ::2])
    Image.fromarray(photo[::-1]).save(tmp_path / "rgb/sub/a.png")
    cv2.imwrite(str(tmp_path / "x/sub/a.png"), depth[::-1])
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """The RGB images' sizes that the network saw; a test may make a call fail."""
    seen, original = [], Predictor.run

    def counted(self, pairs):
        seen.extend(pair.size_hw for pair in pairs)
        return original(self, pairs)

    monkeypatch.setattr(Predictor, "run", counted)
    return seen
