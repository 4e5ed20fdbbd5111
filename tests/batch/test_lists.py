"""Lists: CRLF, UTF-16 and backslashes, names of a split, and pairs such as TUM's associations."""

import cv2
import numpy as np
import pytest
import yaml
from helpers.commands import run
from helpers.trees import make_tree, write_list

from ktb.datasets.custom import CustomDataset
from ktb.datasets.lists import read_lines, read_pairs
from ktb.datasets.pairing import match
from training.data.datasets import build_dataset

TUM = """# rgb and depth, associated by time
1305031102.175304 rgb/1305031102.175304.png 1305031102.160407 depth/1305031102.160407.png
1305031102.211214 rgb/1305031102.211214.png 1305031102.226738 depth/1305031102.226738.png
"""


@pytest.fixture
def tum(tmp_path):
    """A sequence whose RGB and depth frames have names that never agree."""
    for name in ("rgb/1305031102.175304", "rgb/1305031102.211214"):
        (tmp_path / "rgb").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((48, 64, 3), 90, np.uint8))
    for number, name in enumerate(("depth/1305031102.160407", "depth/1305031102.226738")):
        (tmp_path / "depth").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((48, 64), 5000 * (number + 2), np.uint16))
    (tmp_path / "associations.txt").write_text(TUM)
    return tmp_path


@pytest.mark.parametrize(
    "data",
    [
        b"a\r\n\r\nsub\\b\r\n",
        b"\xef\xbb\xbfa\n  sub\\b  \n",
        "a\r\nsub\\b\r\n".encode("utf-16"),
        b"# names\n./a\n.\\sub\\b",
        b"a\rsub/b",
    ],
)
def test_lines_of_any_system(tmp_path, data):
    (tmp_path / "list.txt").write_bytes(data)
    assert read_lines(tmp_path / "list.txt") == ["a", "sub/b"]


@pytest.mark.parametrize(
    "line",
    [
        "rgb/1305031102.175304.png depth/1305031102.160407.png",
        "rgb/1305031102.175304.png\tdepth/1305031102.160407.png",
        "rgb\\1305031102.175304.png;depth\\1305031102.160407.png",
        '"rgb/1305031102.175304.png", "depth/1305031102.160407.png"',
        "1.5 depth/1305031102.160407.png 1.5 rgb/1305031102.175304.png",
    ],
)
def test_forms_of_a_pair(tum, line):
    (tum / "list.txt").write_text(line + "\r\n", newline="")
    (pair,) = read_pairs(tum / "list.txt", tum)
    assert pair.rgb == tum / "rgb/1305031102.175304.png"
    assert pair.x == tum / "depth/1305031102.160407.png"


def test_a_line_that_is_no_pair_is_named(tum):
    (tum / "list.txt").write_text("rgb/a.png depth/a.png\nrgb/b.png\n")
    with pytest.raises(ValueError, match=r"list.txt: line 2, 'rgb/b.png', names 1 files; a line holds"):
        read_pairs(tum / "list.txt", tum)


def test_encode_takes_associations(tum):
    out = tum / "out"
    more = ("--modality", "depth", "--unit", "1/5000m", "--npy")
    ended = run("encode", "--pairs", tum / "associations.txt", "--out-dir", out, *more)
    assert ended.exit_code == 0, ended.output
    found = np.load(out / "rgb/1305031102.175304.npy")
    assert found.max() == pytest.approx(0.2, abs=1e-4)


def test_pairs_and_patterns_exclude_each_other(tum):
    more = ("--x-dir", "depth", "--out", tum / "out")
    ended = run("predict", "--pairs", tum / "associations.txt", *more)
    assert ended.exit_code == 2
    assert "the list of --pairs names X" in ended.stderr


def test_a_yaml_file_takes_pairs_and_their_labels(tum):
    cv2.imwrite(str(tum / "truth.png"), np.zeros((48, 64), np.uint8))
    rows = ["rgb/1305031102.175304.png depth/1305031102.160407.png truth.png"]
    (tum / "train.txt").write_text("\n".join(rows))
    keys = {"pairs": "train.txt", "modality": "depth", "unit": "1/5000m", "classes": ["a"]}
    (tum / "data.yaml").write_text(yaml.safe_dump(keys))
    data = CustomDataset(tum / "data.yaml")
    assert data.has_labels
    (pair,) = data.pairs("train")
    assert pair == ("rgb/1305031102.175304", *(tum / part for part in rows[0].split()))
    dataset = build_dataset(str(tum / "data.yaml"), None, "train")
    assert np.median(dataset[0].modal_x) == pytest.approx(255 * 0.2, abs=0.01)
    (tum / "data.yaml").write_text(yaml.safe_dump(keys | {"pairs": "associations.txt"}))
    assert not CustomDataset(tum / "data.yaml").has_labels
    assert len(CustomDataset(tum / "data.yaml").pairs("train")) == 2
    (tum / "data.yaml").write_text(yaml.safe_dump(keys | {"rgb": "rgb"}))
    with pytest.raises(ValueError, match="key 'pairs' names all files"):
        CustomDataset(tum / "data.yaml")


@pytest.mark.parametrize(
    "line",
    [
        "rgb\\a.png",
        ".\\rgb\\a.png",
        "rgb/a.png x/a.png labels/a.png",
        "a.png",
        "a",
        "x\\a.tif",
        "rgb/a.png,x/a.png",
    ],
)
def test_split_lists_of_a_custom_dataset(tmp_path, line):
    for folder in ("rgb", "x"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.full((48, 64), 9, np.uint8))
    (tmp_path / "train.txt").write_bytes(f"{line}\r\n".encode())
    keys = {"rgb": ".\\rgb", "x": "x\\{name}.png", "modality": "nir", "classes": ["a"]}
    file = tmp_path / "data.yaml"
    file.write_text(yaml.safe_dump(keys | {"split": {"train": "train.txt"}}))
    assert [pair.name for pair in CustomDataset(file).pairs("train")] == ["a"]


def test_lists_of_the_benchmarks(tmp_path):
    root = make_tree("sunrgbd", tmp_path / "sun")
    names = build_dataset("sunrgbd", root, "train").names
    write_list(root / "train.txt", [f"RGB\\{name}.jpg labels\\{name}.png\r" for name in names])
    assert build_dataset("sunrgbd", root, "train").names == names


def test_patterns_with_backslashes(tmp_path):
    for folder in ("left", "depth"):
        (tmp_path / "day" / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "day" / folder / "a.png"), np.zeros((48, 64), np.uint8))
    (pair,) = match("day\\left", ["day\\depth"], root=tmp_path).pairs
    assert pair.name == "a"
