"""The model that is chosen by itself: by the sensor of X, and by the scene without X."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers.models import MM, depth_model
from helpers.pairs import synthetic_pair

from ktb import save_model
from ktb.checkpoints.choice import ModelChoice, choose_model
from ktb.config import DOMAIN_CASES, DomainConfig
from ktb.inference.auto import AutoPredictor
from ktb.inputs.recognize import Recognition
from ktb.modalities import DEFAULT_ENCODINGS
from ktb.modeling.build import build_model

pytestmark = pytest.mark.usefixtures("one_thread")
ROOMS, STREETS, EVENTS = "rooms", "streets", "rooms-event"


def model_of(name: str, dataset: str, modality: str, limit: float):
    """A small model with a domain check that nothing (limit 1e3) or everything (1e-6) exceeds."""
    plain = depth_model()
    inputs = dataclasses.replace(plain.config.inputs, modality=modality, encoding=DEFAULT_ENCODINGS[modality])
    domain = DomainConfig(f"the {dataset}", (limit,) * len(DOMAIN_CASES), rank=2)
    config = dataclasses.replace(plain.config, name=name, dataset=dataset, inputs=inputs, domain=domain)
    made = build_model(config)
    made.load_state_dict({**made.state_dict(), **plain.state_dict()})
    return made


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = {
        ROOMS: model_of(ROOMS, "nyuv2", "depth", 1e3),
        EVENTS: model_of(EVENTS, "nyuv2", "event", 1e3),
        STREETS: model_of(STREETS, "camvid", "thermal", 1e3),
        "lost": model_of("lost", "nyuv2", "depth", 1e-6),
    }
    for name, model in made.items():
        save_model(folder / f"{name}.safetensors", model, {})
    return {name: folder / f"{name}.safetensors" for name in made}


@pytest.fixture(scope="module")
def pair():
    return synthetic_pair(95, 127)


def offered(files, *names):
    return {name: files[name] for name in names}


def test_the_sensor_decides(files, pair):
    auto = AutoPredictor(offered(files, ROOMS, EVENTS, STREETS), runtime="eager")
    depth = auto(*pair, options=dataclasses.replace(MM, modality="depth"), trace=False)
    assert depth.model == ROOMS
    assert depth.choice == "X is depth: as given"
    assert depth.summary()["choice"] == depth.choice
    heat = auto(pair[0], np.random.default_rng(0).normal(295, 4, (95, 127)).astype(np.float32), trace=False)
    assert heat.model == STREETS
    assert heat.choice.startswith("X is thermal: values around 295 are kelvins")
    assert heat.ribbon == ""
    frames = auto.choose(pair[0], None)
    assert (frames.name, frames.scenes) == (ROOMS, (STREETS,))


def test_without_x_the_scene_decides(files, pair):
    known = AutoPredictor(offered(files, ROOMS, STREETS), runtime="eager")(pair[0], None, trace=False)
    assert known.model == ROOMS
    assert known.choice == "there is no X, and nothing speaks for another scene"
    moved = AutoPredictor(offered(files, "lost", STREETS), runtime="eager")(pair[0], None, trace=False)
    assert moved.model == STREETS
    assert moved.choice.endswith("the RGB image is closer to the camvid than to the nyuv2")
    nobody = AutoPredictor(offered(files, "lost"), runtime="eager")(pair[0], None, trace=False)
    assert nobody.model == "lost"
    assert nobody.ribbon.startswith("outside training: this picture is unlike the nyuv2")


def test_a_sensor_without_a_model_runs_under_the_ribbon(files, pair):
    auto = AutoPredictor(offered(files, ROOMS, STREETS), runtime="eager")
    nir = auto(pair[0], pair[0][..., 0], options=dataclasses.replace(MM, modality="nir"), trace=False)
    assert nir.model == ROOMS
    assert nir.choice == (
        "X is near infrared (as given), for which there is no model; this one learned from depth"
    )
    assert nir.ribbon == "outside training: X is near infrared, and this model learned from depth"
    assert not choose_model(Recognition("nir", "by its name"), auto._configs).fits


def test_an_ambiguous_x_is_asked_about():
    weak = Recognition("thermal", "by its texture", is_sure=False, alternative="nir")
    with pytest.raises(ValueError, match=r"X may be thermal or near infrared.*Say what X is"):
        choose_model(weak)
    with pytest.raises(ValueError, match="no model is available"):
        choose_model(None, {})
    assert choose_model(None).scenes is not None  # the built-in models
    assert isinstance(choose_model(Recognition("event", "a stream")), ModelChoice)
