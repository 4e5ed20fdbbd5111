"""The automatically chosen checkpoint on the page: its reason, the offers without one, and the ribbon."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from helpers.pairs import write_pair

from app.layout import card_text, offered
from app.panels.footer import footer
from app.panels.x_input import small_x_panel
from app.service import Service
from app.texts import ANY_X, head, x_hint
from app.viewer import stored
from app.widgets.examples import examples
from ktb.checkpoints.choice import AUTO_MODEL
from ktb.inference.domain import DomainVerdict
from ktb.inputs import XOptions
from ktb.inputs.recognize import Recognition
from ktb.outputs.bundle import make_bundle

DEPTH, EVENT = "ktb-lite-nyuv2-depth", "ktb-lite-nyuv2-event"
NIR = XOptions(modality="nir")


@pytest.fixture(scope="module")
def service():
    return Service(runtime="eager")


@pytest.fixture(scope="module")
def infrared(tmp_path_factory):
    """An RGB image and a grey picture, both named without a hint."""
    folder = tmp_path_factory.mktemp("pair")
    rgb, _ = write_pair(folder, 64, 96)
    grey = cv2.imread(str(rgb), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(folder / "second.png"), grey)
    return str(rgb), str(folder / "second.png")


def ribbon(result) -> str:
    """What the viewer writes above the images of a run outside the training."""
    return make_bundle(result.rgb, stored(result)).header["ribbon"]


def test_the_page_starts_with_the_automatic_choice_unless_models_are_named(service, tmp_path):
    assert service.default == AUTO_MODEL
    assert service.names == [AUTO_MODEL, *service.models]
    assert service.inputs(AUTO_MODEL) is ANY_X
    file = tmp_path / "mine.safetensors"
    file.write_bytes(service._files[DEPTH].read_bytes())
    assert Service([str(file)]).default == "mine"
    assert [pair.x for pair in offered(ANY_X, None).pairs] == [pair.x for pair in examples("depth")]
    assert all(name in card_text(service, AUTO_MODEL) for name in (DEPTH, EVENT))
    assert "depth" not in head(ANY_X)
    assert "Depth, thermal, events" in x_hint(ANY_X)


@pytest.mark.parametrize(("modality", "model"), [("depth", DEPTH), ("event", EVENT)])
def test_an_example_runs_on_its_model_and_says_why(service, modality, model):
    pair = examples(modality)[0]
    view = service.read_x(str(pair.x), str(pair.rgb), AUTO_MODEL)
    assert view.choice.name == model
    assert view.reading.modality == modality
    assert f"Checkpoint <b>{model}</b>: X is " in small_x_panel(view.reading, view)
    result = service.segment(str(pair.rgb), str(pair.x), AUTO_MODEL)
    assert (result.offered_as, result.prediction.model) == (model, model)
    assert result.prediction.choice == view.choice.why
    assert "chosen because X is" in footer(result)
    named = service.segment(str(pair.rgb), str(pair.x), model)
    assert named.prediction.choice == ""
    assert np.array_equal(named.prediction.labels["fused"], result.prediction.labels["fused"])


def test_a_sensor_without_a_model_is_told_first_and_runs_under_the_ribbon(service, infrared):
    rgb, x = infrared
    view = service.read_x(x, rgb, AUTO_MODEL, NIR)
    assert not view.choice.fits
    text = small_x_panel(view.reading, view)
    assert "There is no checkpoint for near infrared." in text
    assert text.index("There is no checkpoint") < text.index("<img")
    assert "ktb-b-mcubes-nir" in text
    result = service.segment(rgb, x, AUTO_MODEL, NIR)
    said = "outside training: X is near infrared, and this model learned from depth"
    assert ribbon(result) == said


def test_an_ambiguous_x_is_shown_with_a_question_and_not_run(service, infrared, monkeypatch):
    rgb, x = infrared
    weak = Recognition("nir", "by its texture", is_sure=False, alternative="thermal")
    monkeypatch.setattr("app.service.recognize", lambda *_: weak)
    view = service.read_x(x, rgb, AUTO_MODEL)
    assert "X may be " in view.question
    text = small_x_panel(view.reading, view)
    assert text.index("Correct how X is read") < text.index("<img")
    with pytest.raises(ValueError, match="Say what X is"):
        service.segment(rgb, x, AUTO_MODEL)


def test_an_image_outside_the_training_has_a_ribbon(service, infrared):
    rgb, _ = infrared
    result = service.segment(rgb, None, DEPTH, source="none")
    far = DomainVerdict("the <795> rooms", {"rgb": 1.5})
    outside = dataclasses.replace(result, prediction=dataclasses.replace(result.prediction, domain=far))
    assert ribbon(outside).startswith("outside training: this picture is unlike the <795> rooms")
    near = DomainVerdict("the <795> rooms", {"rgb": 0.5})
    inside = dataclasses.replace(result, prediction=dataclasses.replace(result.prediction, domain=near))
    assert not ribbon(inside)
