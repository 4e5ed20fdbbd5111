"""A published checkpoint is small, carries its card, and says what was measured."""

from __future__ import annotations

import json

import pytest
import torch

from ktb.checkpoints.load import load_model, save_model
from ktb.checkpoints.metadata import read_header
from ktb.modeling.build import build_model, lite_config
from training.publish import blend, build_card, card_markdown, main

WRITTEN = {
    "data": "made up",
    "split": "none",
    "commands": ["python -m training.train nothing"],
    "hours": 0.5,
    "limits": "everything",
}


def evaluation() -> dict:
    row = {
        "miou": 37.96,
        "pixel_accuracy": 70.0,
        "class_accuracy": 50.0,
        "iou": {"wall": 80.09, "other prop": None},
    }
    return {"fused": row, "rgb": row, "x": row, "images": 3, "protocol": "as it is"}


def test_publish_halves_the_file_and_keeps_the_card(tmp_path):
    model = build_model(lite_config())
    trained = tmp_path / "model.safetensors"
    save_model(trained, model, {"recipe": {"name": "r"}, "step": 7, "selection": "best of five looks"})
    (tmp_path / "card.json").write_text(json.dumps(WRITTEN))
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation()))
    out = tmp_path / "small.safetensors"
    arguments = [trained, "--out", out, "--card", tmp_path / "card.json"]
    arguments += ["--evaluation", tmp_path / "evaluation.json", "--name", "another-name"]
    main([str(a) for a in arguments])
    assert out.stat().st_size < 0.51 * trained.stat().st_size
    config, card = read_header(out)
    assert config.name == "another-name"
    assert card["figures"]["fused"]["miou"] == 37.96
    assert card["step"] == 7
    assert card["selection"] == "best of five looks"
    assert card["limits"] == "everything"
    loaded = load_model(out).state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded[name], tensor.half().float() if tensor.is_floating_point() else tensor)
    text = out.with_suffix(".md").read_text()
    assert "**Selection**: best of five looks" in text
    assert "| fused | 37.9 | 70.0 | 50.0 |" in text  # never rounded up
    assert "| other prop | not scored | not scored | not scored |" in text


def test_a_blend_takes_a_fraction_of_every_weight_and_statistic(tmp_path):
    first, second = build_model(lite_config()), build_model(lite_config())
    for model, value in ((first, 1.0), (second, 3.0)):
        for tensor in model.state_dict().values():
            tensor.fill_(value)
    blend(first, second, 0.25)
    assert {t.unique().item() for t in first.state_dict().values() if t.is_floating_point()} == {1.5}
    with pytest.raises(ValueError, match="from 0 to 1"):
        blend(first, second, 1.5)
    with pytest.raises(ValueError, match="differ in tensors or classes"):
        blend(first, build_model(lite_config("camvid")), 0.5)


def test_scores_against_boxes_stand_in_the_card():
    scores = {"found": 74.99, "stray": 3.01, "boxes": 100, "boxes_found": 74, "pixels": 9, "pixels_stray": 1}
    nothing = {"found": None, "stray": None}
    measured = {"protocol": "as it is", "images": {"night": 1}, "model": "a path", "command": "a command"}
    measured["both"] = {"night": {"fused": {"person": scores, "car": nothing}}}
    card = build_card(WRITTEN, {}, None, measured)
    assert card["boxes"].keys() == {"protocol", "images", "both"}
    text = card_markdown("name", card)
    assert "| sensors | time | head | person: found / stray % | car: found / stray % |" in text
    # never flattering: found is rounded down, stray up
    assert "| both | night | fused | 74.9 / 3.1 | not scored / not measured |" in text


def test_an_evaluation_without_x_gives_no_fused_score():
    measured = evaluation() | {"missing": "x", "dataset": "camvid", "split": "val"}
    card = build_card(WRITTEN, {}, measured)
    assert "figures" not in card
    text = card_markdown("name", card)
    assert "RGB only. camvid, val split, 3 images; as it is:" in text
    assert "| fused | 37.9 | 70.0 | 50.0 |" in text
    assert "| x |" not in text  # a head without its image has no score
    with pytest.raises(ValueError, match="without rgb"):
        build_card(WRITTEN, {}, measured | {"missing": "rgb"})


def test_a_card_without_limits_is_refused():
    with pytest.raises(ValueError, match="limits"):
        build_card({key: value for key, value in WRITTEN.items() if key != "limits"}, {}, None)
