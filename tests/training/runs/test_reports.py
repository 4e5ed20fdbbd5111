"""The files of an evaluation: figures rounded down, nothing lost, pictures that can be read."""

import csv
import json

import cv2
import numpy as np
import pytest

from ktb.labels import DATASETS
from training.evaluation.reports import (
    branch_table,
    draw_confusion,
    markdown,
    shown,
    text_table,
    write_confusion_csv,
    write_json,
    write_report,
)

CLASSES = ("wall", "a|b", "absent")


def scores(miou=37.96):
    return {
        "miou": miou,
        "pixel_accuracy": 70.0,
        "class_accuracy": 50.19,
        "f1": 60.0,
        "iou": {"wall": 80.09, "a|b": 3.0, "absent": None},
        "accuracy_per_class": {"wall": 90.0, "a|b": 10.0, "absent": None},
        "f1_per_class": {"wall": 88.88, "a|b": 5.99, "absent": None},
    }


def result(**more):
    return {"fused": scores(), "rgb": scores(), "x": scores(), "images": 3, "protocol": "as is"} | more


def test_figures_are_rounded_down_and_what_is_not_scored_says_so():
    assert shown(37.96) == "37.9"
    assert shown(99.999, 2) == "99.99"
    assert shown(None) == shown(float("nan")) == "not scored"


def test_markdown_holds_protocol_command_and_tables():
    conditions = {"night": {**result(), "images": 2}, "day": {**result(), "fused": scores(float("nan"))}}
    attention = [{"level": 0, "entropy": 0.71999, "balance_std": 0.05}]
    text = markdown(result(conditions=conditions, attention=attention), "M on D", "python -m x --y")
    lines = text.splitlines()
    assert lines[0] == "# M on D"
    assert "**Protocol**: as is; 3 images, in percent" in lines
    assert "python -m x --y" in lines
    assert "| branch | mIoU | pixel accuracy | class accuracy | F1 |" in lines
    assert "| fused | 37.9 | 70.0 | 50.1 | 60.0 |" in lines
    assert "| night | 2 | 37.9 | 37.9 | 37.9 | 70.0 |" in lines
    assert "| day | 3 | not scored | 37.9 | 37.9 | 70.0 |" in lines
    assert "| wall | 80.0 | 80.0 | 80.0 | 88.8 | 88.8 | 88.8 |" in lines
    assert any(line.startswith("| a\\|b | 3.0 |") for line in lines)
    assert any(line.startswith("| absent | not scored |") for line in lines)
    assert "| 0 | 0.719 | 0.050 |" in lines


def test_boundary_columns_appear_when_they_were_scored():
    fused = scores() | {"boundary_f1": 41.17, "boundary_f1_per_class": dict.fromkeys(CLASSES, 1.0)}
    text = markdown(result(fused=fused, rgb=fused, x=fused), "t", "c")
    assert "| fused | 37.9 | 70.0 | 50.1 | 60.0 | 41.1 |" in text
    assert "boundary F1 x" in text
    assert "boundary" not in markdown(result(), "t", "c")


def test_terminal_table_is_aligned():
    lines = text_table(branch_table(result(), decimals=2)).splitlines()
    assert lines[0].split() == ["branch", "mIoU", "pixel", "accuracy", "class", "accuracy", "F1"]
    assert lines[1] == "fused   37.96           70.00           50.19  60.00"
    assert len({len(line) for line in lines}) == 1


def test_json_has_no_nan_and_full_figures(tmp_path):
    write_json(tmp_path / "r.json", {"miou": 1 / 3, "a": [float("nan"), {"b": float("inf")}], "n": 2})
    text = (tmp_path / "r.json").read_text()
    assert json.loads(text) == {"miou": 1 / 3, "a": [None, {"b": None}], "n": 2}


def test_confusion_csv_has_names_and_counts(tmp_path):
    counts = [[5, 0, 1], [0, 10**12, 0], [0, 0, 0]]
    write_confusion_csv(tmp_path / "c.csv", counts, CLASSES)
    rows = list(csv.reader((tmp_path / "c.csv").open(newline="")))
    assert rows[0] == ["truth / prediction", *CLASSES]
    assert rows[1:] == [[name, *map(str, row)] for name, row in zip(CLASSES, counts, strict=True)]


def test_no_class_of_a_confusion_csv_is_a_formula(tmp_path):
    write_confusion_csv(tmp_path / "c.csv", [[1, 0], [0, 1]], ("=1+1", "@x"))
    rows = list(csv.reader((tmp_path / "c.csv").open(newline="")))
    assert rows == [["truth / prediction", "'=1+1", "'@x"], ["'=1+1", "1", "0"], ["'@x", "0", "1"]]


@pytest.mark.parametrize("classes", [("only",), CLASSES, DATASETS["nyuv2"].classes])
def test_confusion_picture_grows_with_the_classes(tmp_path, classes):
    counts = np.diag(np.arange(len(classes)) * 100) + 1
    draw_confusion(tmp_path / "c.png", counts, classes, "M on D", "a protocol " * 20)
    height, width, _ = cv2.imread(str(tmp_path / "c.png")).shape
    assert min(height, width) >= 900
    assert min(height, width) >= 40 * len(classes)  # a cell has room for its number
    assert not list(tmp_path.glob(".*"))


def test_report_writes_all_files_and_keeps_counts_out_of_the_json(tmp_path):
    counts = {branch: np.eye(3, dtype=int).tolist() for branch in ("fused", "x")}
    out = tmp_path / "new" / "scores.json"
    files = write_report(out, result(confusion=counts), "t", "c")
    names = [f"scores_confusion_{b}.{s}" for b in ("fused", "x") for s in ("csv", "png")]
    assert [file.name for file in files] == ["scores.json", "scores.md", *names]
    assert sorted(path.name for path in out.parent.iterdir()) == sorted(file.name for file in files)
    assert "confusion" not in json.loads(out.read_text())
    assert len(write_report(out, result(), "t", "c")) == 2
