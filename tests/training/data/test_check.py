"""The check command on good trees, on spoilt ones, and the contact sheet."""

import json
import re

import cv2
import numpy as np
import pytest
import yaml
from helpers.trees import TREES, codes, make_tree, write, write_list

from training.check import check, main
from training.data.datasets import REGISTRY
from training.data.datasets.sample import Sample
from training.data.sheets import Tile, contact_sheet, x_image

SIZE = (32, 40)


@pytest.fixture
def root(tmp_path):
    return make_tree("nyuv2", tmp_path / "nyuv2", count=3)


@pytest.mark.parametrize("name", TREES)
def test_good_trees_are_in_order(tmp_path, name, capsys):
    root = make_tree(name, tmp_path / "tree", size=SIZE)
    assert main([name, "--data", str(root), "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["problems"] == []
    assert list(report["splits"]) == list(REGISTRY[name].splits)
    for part in report["splits"].values():
        assert part["samples"] == part["readable"] == 2
        assert part["sizes"] == {"40 x 32": 2}
        assert sum(part["label_share"].values()) + part["ignored_share"] == pytest.approx(1, abs=1e-4)
        assert part["absent_classes"] == []
    sheet = cv2.imread(str(tmp_path / "out/contact_sheet.png"))
    assert sheet.shape[0] > 300
    assert "The tree is in order." in capsys.readouterr().out


def test_figures_of_a_small_tree(root):
    for number in (1, 2, 3):
        write(root / f"Depth/{number:04d}.png", np.full((8, 12), 50 * number, np.uint8))
        write(root / f"Label/{number:04d}.png", codes([0, 0, 0, 1], (8, 12)))
    report, _ = check("nyuv2", root, splits=["train"], progress=False)
    part = report["splits"]["train"]
    assert report["modality"] == "depth"
    assert (part["x"]["minimum"], part["x"]["maximum"], part["x"]["mean"]) == (50, 150, 100)
    assert part["x"]["deviation"] == pytest.approx(np.std([50, 100, 150]), abs=1e-3)
    assert part["x"]["stored"] == {"uint8, 1 channel": 3}
    assert (part["label_share"]["wall"], part["ignored_share"]) == (0.25, 0.75)
    assert len(part["absent_classes"]) == 39
    assert part["published"] == 795
    assert "train: 3 samples, published are 795" in report["notes"]


def test_conditions_are_counted(tmp_path):
    report, _ = check("mfnet", make_tree("mfnet", tmp_path), progress=False)
    assert report["splits"]["train"]["conditions"] == {"day": 1, "night": 1}
    report, _ = check("deliver", make_tree("deliver", tmp_path / "d"), progress=False)
    assert report["splits"]["val"]["conditions"] == {"rain": 1, "sun/motionblur": 1}


def test_all_defects_are_found_each_with_its_file(root, tmp_path, capsys):
    (root / "RGB/0001.jpg").unlink()
    write(root / "Depth/0002.png", np.zeros((8, 12), np.uint16))
    write(root / "Label/0002.png", np.full((8, 12), 99, np.uint8))
    write(root / "Depth/0003.png", np.zeros((9, 12), np.uint8))
    (root / "Label/0004.png").write_bytes(b"no image")
    write_list(root / "test.txt", ["0004", "0005", "0005", "0003"])  # 0006 left out
    assert main(["nyuv2", "--data", str(root), "--out", str(tmp_path / "out")]) == 1
    report = json.loads((tmp_path / "out/report.json").read_text())
    found = {(p["file"].removeprefix(f"{root}/"), p["what"]) for p in report["problems"]}
    assert found >= {
        ("RGB/0001.jpg", "the file is missing"),
        ("Depth/0002.png", "expected 8-bit values, found uint16"),
        ("Label/0002.png", "label value 99 is outside 1..40 (and 0 = ignored)"),
        ("Depth/0003.png", "size 12 x 9 differs from the RGB image's 12 x 8 (width x height)"),
        ("RGB/0005.jpg", "sample '0005' is twice in test"),
        ("RGB/0003.jpg", "sample '0003' is in train and in test"),
    }
    assert any(file == "Label/0004.png" and "cannot be read" in what for file, what in found)
    assert len(found) == 7
    assert report["splits"]["train"]["readable"] == 0
    assert f"{root / 'RGB'}: 1 files are in no split: 0006.jpg" in report["notes"]
    out = capsys.readouterr().out
    assert "PROBLEM" in out
    assert "Expected layout: ROOT/{RGB/NAME.jpg" in out
    assert "The tree has problems." in out


def test_problems_beyond_the_limit_are_counted(root):
    for file in (root / "Label").iterdir():
        write(file, np.full((8, 12), 77, np.uint8))
    report, sheet = check("nyuv2", root, limit=2, progress=False)
    assert len(report["problems"]) == 2
    assert report["further_problems"] == 4
    assert sheet is None


def test_a_missing_list_does_not_hide_the_other_split(root):
    (root / "test.txt").unlink()
    report, sheet = check("nyuv2", root, progress=False)
    assert [p["what"] for p in report["problems"]] == ["the list of the split 'test' is missing"]
    assert list(report["splits"]) == ["train"]
    assert not any("in no split" in note for note in report["notes"])
    assert sheet is not None


def test_the_same_rgb_image_in_two_splits_is_noted(root):
    (root / "RGB/0004.jpg").write_bytes((root / "RGB/0001.jpg").read_bytes())
    report, _ = check("nyuv2", root, progress=False)
    assert "the same RGB image is in train ('0001') and in test ('0004')" in report["notes"]


def test_another_modality(root):
    (root / "HHA/0001.jpg").unlink()
    assert check("nyuv2", root, progress=False)[0]["problems"] == []
    report, _ = check("nyuv2", root, modality="hha", progress=False)
    assert [p["file"] for p in report["problems"]] == [str(root / "HHA/0001.jpg")]


@pytest.fixture
def farm(tmp_path):
    """A YAML file and its data; two of six files are not used."""
    rng = np.random.default_rng(0)
    for name in "abcdef":
        for folder in ("rgb", "x"):
            write(tmp_path / folder / f"{name}.png", rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8))
        write(tmp_path / "labels" / f"{name}.png", codes([0, 1, 255], SIZE))
    keys = {"rgb": "rgb", "x": "x", "labels": "labels", "modality": "event", "classes": ["soil", "tree"]}
    keys["split"] = {"train": 0.5, "test": 1 / 6}
    file = tmp_path / "farm.yaml"
    file.write_text(yaml.safe_dump(keys))
    return file


def test_own_data(farm, tmp_path):
    assert main([str(farm), "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert {split: part["samples"] for split, part in report["splits"].items()} == {"train": 3, "test": 1}
    assert report["splits"]["train"]["label_share"] == pytest.approx({"soil": 1 / 3, "tree": 1 / 3}, abs=1e-3)
    assert sum("2 files are in no split" in note for note in report["notes"]) == 3


def test_own_data_with_defects(farm, tmp_path):
    for file in (tmp_path / "labels").iterdir():
        write(file, np.full(SIZE, 7, np.uint8))
    for file in (tmp_path / "x").iterdir():
        file.unlink()
    write(tmp_path / "x/other.png", np.zeros(SIZE, np.uint8))
    report, _ = check(str(farm), None, splits=["train"], progress=False)
    assert len(report["problems"]) == 7
    whats = [p["what"] for p in report["problems"]]
    assert sum("label value 7 is outside 0..1" in what for what in whats) == 3
    assert sum("there is no such file" in what for what in whats) == 3
    assert whats[0].startswith("values of no class fill 100.0 % of the pixels: 7.")


def test_own_data_whose_split_cannot_be_opened(farm):
    keys = yaml.safe_load(farm.read_text()) | {"split": {"train": "train.txt"}}
    farm.write_text(yaml.safe_dump(keys))
    with pytest.raises(ValueError, match=r"key 'split.train': there is no file"):
        check(str(farm), None, progress=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nyu"], "Dataset 'nyu' is not known"),
        (["nyuv2"], "--data None: the dataset's folder is missing. Layout: ROOT/{RGB"),
        (["nyuv2", "--data", "nowhere"], "--data nowhere: the dataset's folder is missing"),
        (["nyuv2", "--data", "ROOT", "--split", "tets"], "split 'tets' is not known; .*Did you mean 'test'"),
        (["nyuv2", "--data", "ROOT", "--modality", "thermal"], "modality 'thermal' is not known"),
        (["nowhere.yaml"], "nowhere.yaml: cannot be read"),
    ],
)
def test_wrong_arguments(root, arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main([str(root) if a == "ROOT" else a for a in arguments])
    assert caught.value.code == 2
    assert re.search(message.replace("{", r"\{"), capsys.readouterr().err)


def test_x_images():
    depth = np.tile(np.linspace(0, 250, 40, dtype=np.uint8), (8, 1))
    shown = x_image(depth, "depth").astype(int)
    assert (shown[:, 0] == 128).all()  # not measured
    assert shown[0, 1].sum() > shown[0, 39].sum()  # bright is near
    assert (x_image(np.zeros((8, 8), np.uint8), "depth") == 128).all()
    thermal = x_image(depth // 5 + 100, "thermal")
    assert (thermal.min(), thermal.max()) == (0, 255)
    angles = np.stack([np.full((4, 4), v, np.float32) for v in (-255, 0, 255)], axis=-1)
    assert x_image(angles, "aolp")[0, 0].tolist() == [0, 128, 255]
    event = np.full((4, 4, 3), (1, 2, 3), np.uint8)
    assert np.array_equal(x_image(event, "event"), event)


def test_contact_sheet_shows_photo_and_label_colours():
    rgb = np.full((30, 40, 3), (10, 200, 30), np.uint8)
    label = np.full((30, 40), 1, np.uint8)
    sample = Sample("a" * 300, rgb, rgb[..., 0], label)
    colours = ((250, 0, 0), (0, 0, 250))
    sheet = contact_sheet([Tile(sample, "train")], ["soil", "tree"], colours, "nir", title="Farm")
    counts = {tuple(c): int((sheet == np.array(c)).all(-1).sum()) for c in ((10, 200, 30), *colours)}
    assert counts[10, 200, 30] == 264 * 198
    assert counts[0, 0, 250] > 264 * 198  # and its entry in the legend
    assert counts[250, 0, 0] == 0
    three = contact_sheet([Tile(sample)] * 3, ["soil", "tree"], colours, "nir", title="Farm", subtitle="x")
    assert three.shape[1] > 1.8 * sheet.shape[1]
    upright = Sample("b", rgb.swapaxes(0, 1), rgb[..., 0].T, label.T)
    contact_sheet([Tile(sample), Tile(upright)], ["soil", "tree"], colours, "nir", title="Farm")
    with pytest.raises(ValueError, match="at least one sample"):
        contact_sheet([], ["soil"], colours[:1], "nir", title="Farm")
