"""Boxes as weak labels and as a measure, and a run that teaches itself on pairs."""

import json

import numpy as np
import pytest
import torch
from helpers.trees import make_pairs, make_tree

from ktb.checkpoints.load import load_model
from training import evaluate_boxes as measure
from training.box_loss import inside_loss, outside_boxes, stray_loss
from training.data.pairs import Boxes
from training.engine.self_teaching import correct, ignore_unseen

BOX = np.array([[4.0, 6.0, 14.0, 26.0]])
PERSON, CAR = [9, 10], [8]


def probability(top=0, bottom=0, left=0, right=0) -> torch.Tensor:
    """(32, 32) with certain pixels in a rectangle."""
    values = torch.zeros(32, 32)
    values[top:bottom, left:right] = 1
    return values


def test_a_box_that_holds_a_certain_object_costs_nothing():
    cross = torch.zeros(32, 32)
    cross[6:26, 8:11] = 1  # every row; 3 of 10 columns
    cross[15, 4:14] = 1  # every column
    assert float(inside_loss(cross, BOX)) == 0
    assert float(inside_loss(probability(6, 26, 4, 14), BOX)) == 0


def test_an_empty_box_costs_more_than_one_with_a_part():
    empty, part, whole = (
        float(inside_loss(values, BOX))
        for values in (probability(), probability(6, 16, 4, 14), probability(6, 26, 4, 14))
    )
    assert empty > part > whole


def test_what_lies_elsewhere_does_not_fill_a_box():
    assert float(inside_loss(probability(6, 26, 16, 32), BOX)) == float(inside_loss(probability(), BOX))


def test_the_gradient_raises_pixels_of_an_empty_box_only():
    values = torch.full((32, 32), 0.1, requires_grad=True)
    inside_loss(values, BOX).backward()
    inside = ~torch.from_numpy(outside_boxes((32, 32), BOX))
    assert (values.grad[inside] < 0).any()
    assert (values.grad[~inside] == 0).all()


def test_tiny_boxes_demand_nothing():
    assert inside_loss(probability(), np.array([[4.0, 4.0, 6.0, 20.0]])) is None
    assert inside_loss(probability(), np.zeros((0, 4))) is None


def test_stray_pixels_cost_and_pixels_inside_do_not():
    assert float(stray_loss(probability(6, 26, 4, 14), BOX)) == 0
    assert float(stray_loss(probability(0, 3, 20, 30), BOX)) > 1
    assert float(stray_loss(probability(5, 27, 3, 15), BOX, margin=1)) == 0
    assert float(stray_loss(probability(5, 27, 3, 15), BOX)) > 0
    assert float(stray_loss(torch.ones(4, 4), np.array([[0.0, 0.0, 4.0, 4.0]]))) == 0  # nothing is outside


def test_boxes_correct_the_teacher():
    labels = torch.full((16, 16), 3)
    labels[0, :4] = 9  # a person outside every box
    labels[4:10, 2:6] = 9  # a person that was found
    labels[12, 12:14] = 8  # a car in a box, of which too little was found
    boxes = Boxes(np.array([0, 2]), np.array([[4, 8, 12, 20], [20, 16, 32, 32]], np.float32))
    correct(labels, {"rgb": boxes}, 0.5, PERSON, CAR)
    assert (labels[0, :2] == 255).all()
    assert (labels[4:10, 2:6] == 9).all()
    assert (labels[8:16, 10:16] == 255).all()
    assert (labels[2, 8:] == 3).all()


def test_what_only_the_thermal_image_shows_is_not_taught_without_it():
    """A student without X keeps the teacher's people inside boxes of the RGB image only."""
    labels = torch.full((16, 16), 3)
    labels[2:6, 2:6] = labels[2:6, 10:14] = 9
    seen = Boxes(np.array([0]), np.array([[2, 2, 6, 6]], np.float32))
    ignore_unseen(labels, seen, 1.0, PERSON)
    assert (labels[2:6, 2:6] == 9).all()
    assert (labels[2:6, 10:14] == 255).all()
    assert (labels[8:] == 3).all()


def test_found_begins_at_a_fifth_of_the_box_and_stray_lies_outside_all_boxes():
    count = measure.Count()
    predicted = np.zeros((20, 20), bool)
    predicted[0:2, 0:10] = True  # 20 of the first box's 100 pixels
    predicted[10:11, 0:10] = True  # 10 of the second's 100
    predicted[19, 15:20] = True  # 5 in no box
    boxes = np.array([[0, 0, 10, 10], [0, 10, 10, 20]], np.float32)
    count.add(predicted, boxes, boxes)
    scores = count.scores()
    assert (scores["boxes"], scores["boxes_found"], scores["found"]) == (2, 1, 50)
    assert scores["stray"] == pytest.approx(100 * 5 / 35)
    assert measure.Count().scores()["found"] is None


def train(*arguments: object) -> None:
    from training.train import main

    main([str(a) for a in arguments])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two folders of pairs, and a run on them that was interrupted after its first step."""
    root = tmp_path_factory.mktemp("street")
    data = make_tree("camvid", root / "camvid", size=(48, 64), count=4)
    names = [f"{n:05d}{'DN'[n % 2]}" for n in range(40)]
    pairs = make_pairs(root / "pairs", names), make_pairs(root / "bare", ["x"], boxes=False)
    command = ["camvid-thermal-pairs", "--data", data, "--pairs", *pairs, "--threads", 1, "--workers", 0]
    command += [
        "--set",
        "epochs=2",
        "batch_size=4",
        "pairs_batch=2",
        "crop=64,64",
        "model.inputs.short_side=64",
    ]
    command += ["pairs_scale=1,1.5", "warmup_epochs=0"]
    train(*command, "--out", root / "whole")
    train(*command, "--out", root / "parts", "--steps", 1)
    train(*command, "--out", root / "parts", "--resume")
    return root, command


def test_a_run_with_pairs_resumes_exactly(run):
    root, _ = run
    whole, parts = (load_model(root / name / "model.safetensors").state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_pairs_and_their_recipe_belong_together(run, capsys):
    root, command = run
    for wrong in ([*command, "pairs_batch=0"], [*command[:3], "--set", "epochs=2"]):
        with pytest.raises(SystemExit):
            train(*wrong, "--out", root / "wrong")
        assert "--pairs is" in capsys.readouterr().err


def test_the_measure_writes_scores_by_time_head_and_sensor(run):
    root, _ = run
    out = root / "boxes.json"
    measure.main(
        ["--model", str(root / "whole/model.safetensors"), "--pairs", str(root / "pairs"), "--out", str(out)]
    )
    result = json.loads(out.read_text())
    assert result["images"] == {"day": 4, "night": 4}
    person = result["x only"]["night"]["fused"]["person"]
    assert person["boxes"] == 4
    assert person["pixels_stray"] <= person["pixels"]
    with pytest.raises(SystemExit):
        measure.main(["--model", "ktb-lite-nyuv2-depth", "--pairs", str(root / "pairs"), "--out", str(out)])
