"""Own data from YAML files: forms of places, splits, classes, label rules, units and every message."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from ktb.config import InputConfig
from ktb.datasets.custom import CustomDataset
from ktb.inputs import XOptions, encode_x, read_image_rgb, read_x
from training.data.datasets import CustomPairDataset, build_dataset

SIZE = (32, 40)
BASE = {"rgb": "rgb", "x": "x", "labels": "labels", "modality": "thermal", "classes": ["soil", "tree"]}


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, image)
    else:
        assert cv2.imwrite(str(path), image)


def fill(
    root: Path,
    names=tuple("abcdefghij"),
    x="x/{}.png",
    rgb="rgb/{}.jpg",
    label="labels/{}.png",
    kind=np.uint8,
):
    rng = np.random.default_rng(0)
    for name in names:
        save(root / rgb.format(name), rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8))
        save(root / x.format(name), rng.integers(500, 9000, SIZE).astype(kind))
        save(root / label.format(name), np.resize(np.array([0, 1, 255], np.uint8), SIZE))


def describe(folder: Path, **changes) -> Path:
    """Write BASE with changes (None removes a key) as farm.yaml in the folder."""
    keys = {key: value for key, value in (BASE | changes).items() if value is not None}
    file = folder / "farm.yaml"
    file.write_text(yaml.safe_dump(keys))
    return file


def names(file: Path, split: str = "train") -> list[str]:
    return [pair.name for pair in CustomDataset(file).pairs(split)]


@pytest.fixture
def root(tmp_path) -> Path:
    fill(tmp_path)
    return tmp_path


def test_defaults(root):
    data = CustomDataset(describe(root))
    assert (data.name, data.splits, data.has_labels, data.encoding) == ("farm", ("train",), True, "thermal")
    assert data.labels.classes == ("soil", "tree")
    given = {"modality": "thermal", "encoding": "thermal", "max_metres": 10.0}
    assert data.input_config == given | {"unit": "raw", "stored": "8-bit"}
    pairs = data.pairs("train")
    assert [pair.name for pair in pairs] == list("abcdefghij")
    assert pairs[0] == ("a", root / "rgb/a.jpg", root / "x/a.png", root / "labels/a.png")


def test_the_example_of_the_docstring(tmp_path):
    import ktb.datasets.custom

    text = "\n".join(line[4:] for line in ktb.datasets.custom.__doc__.splitlines() if line.startswith("    "))
    (tmp_path / "orchard.yaml").write_text(text)
    fill(tmp_path / "recordings", x="thermal/{}_ir.png", rgb="photos/{}.jpg")
    data = CustomDataset(tmp_path / "orchard.yaml")
    assert data.labels.palette[1:] == ((0x2F, 0x8F, 0x3F), (230, 60, 40))
    assert [len(data.pairs(split)) for split in data.splits] == [8, 1, 1]
    assert {p.x.name for s in data.splits for p in data.pairs(s)} == {f"{n}_ir.png" for n in "abcdefghij"}


@pytest.mark.parametrize(
    ("files", "places"),
    [
        ({"rgb": "rgb/{}.jpg", "x": "x/{}.png"}, {"rgb": "rgb/*.jpg", "x": "x/*"}),
        ({"rgb": "a/{}_c.png", "x": "a/{}_t.png"}, {"rgb": "a/{name}_c.png", "x": "a/{name}_t.png"}),
        ({"rgb": "in/{}/rgb.png", "x": "in/{}/ir.png"}, {"rgb": "in/{name}/rgb.png", "x": "in/{name}/ir.*"}),
        ({"rgb": "s/{0}/{0}_c.png", "x": "s/{0}/{0}_t.png"},
         {"rgb": "s/{name}/{name}_c.png", "x": "s/{name}/{name}_t.png"}),
        ({"rgb": "d/1/rgb/{}.png", "x": "d/1/x/{}.npy"}, {"rgb": "d/**/rgb/*.png", "x": "d/?/x/{name}.npy"}),
    ],
)  # fmt: skip
def test_places(tmp_path, files, places):
    fill(tmp_path, names="ab", **files)
    pairs = CustomDataset(describe(tmp_path, **places)).pairs("train")
    assert [pair.name for pair in pairs] == ["a", "b"]
    assert [pair.x for pair in pairs] == [tmp_path / files["x"].format(n) for n in "ab"]


def test_folders_are_read_with_their_subfolders(tmp_path):
    fill(tmp_path, names=["day/1", "night/1"])
    (tmp_path / "rgb/.day.jpg").write_bytes(b"hidden")
    (tmp_path / "rgb/notes.txt").write_text("no picture")
    assert names(describe(tmp_path)) == ["day/1", "night/1"]
    assert names(describe(tmp_path, rgb="rgb/{name}.jpg", x="x/{name}.png")) == ["day/1", "night/1"]
    with pytest.raises(
        ValueError, match=r"key 'rgb': .*1.jpg and .*1.jpg are both '1'; .*pattern with \{name\}"
    ):
        names(describe(tmp_path, rgb="rgb/**/*.jpg"))


def test_root_is_relative_to_the_file_or_given(root, tmp_path):
    elsewhere = root / "lists"
    elsewhere.mkdir()
    assert len(names(describe(elsewhere, root=".."))) == 10
    assert len(CustomDataset(describe(elsewhere), root).pairs("train")) == 10
    assert len(build_dataset(str(describe(elsewhere)), root, "train")) == 10


def test_fractions_are_disjoint_seeded_and_stable(tmp_path):
    fill(tmp_path, names=[f"{i:03d}" for i in range(40)])
    split = {"train": 0.5, "val": 0.25, "test": 0.25}
    first, again, other = (
        {s: names(describe(tmp_path, split=split, seed=seed), s) for s in split} for seed in (1, 1, 2)
    )
    assert {s: len(n) for s, n in first.items()} == {"train": 20, "val": 10, "test": 10}
    assert len({n for part in first.values() for n in part}) == 40
    assert first == again != other
    fill(tmp_path, names=["new"])
    more = {s: names(describe(tmp_path, split=split, seed=1), s) for s in split}
    assert sum(len(set(first[s]) - set(more[s])) for s in split) <= 2


def test_part_of_the_data(root):
    assert len(names(describe(root, split={"train": 0.3}))) == 3


def test_split_files_keep_their_order_and_take_names_or_paths(root):
    (root / "train.txt").write_text("c\nrgb/a.jpg\n\nb.jpg\n")
    (root / "test.txt").write_text("\ufeffd\r\n")
    file = describe(root, split={"train": "train.txt", "test": "test.txt"})
    assert names(file) == ["c", "a", "b"]
    assert names(file, "test") == ["d"]


def test_without_labels_only_the_page_can_use_it(root):
    file = describe(root, labels=None)
    data = CustomDataset(file)
    assert not data.has_labels
    assert data.pairs("train")[0].label is None
    with pytest.raises(
        ValueError, match=r"farm.yaml: key 'labels': missing, and training and evaluation need"
    ):
        build_dataset(str(file), None, "train")


def test_colours_given_mixed_and_chosen(root):
    first = CustomDataset(describe(root)).labels.palette[0]
    classes = [{"name": "soil"}, {"name": "tree", "color": list(first)}, {"name": "sky", "color": "#00FF80"}]
    palette = CustomDataset(describe(root, classes=classes)).labels.palette
    assert palette[1:] == (first, (0, 255, 128))
    assert len(set(palette)) == 3


def test_label_offset_ignore_and_palette_pictures(root):
    data = CustomDataset(describe(root, label_offset=1, ignore=[0, 9]))
    label = Image.fromarray(np.resize(np.array([0, 1, 2, 9], np.uint8), SIZE), "P")
    label.putpalette(list(range(256)) * 3)
    label.save(root / "label.png")
    assert np.array_equal(data.read_label(root / "label.png")[0, :4], [255, 0, 1, 255])
    save(root / "label.npy", np.full(SIZE, 2, np.int64))
    assert (data.read_label(root / "label.npy") == 1).all()
    save(root / "deep.png", np.full(SIZE, 1000, np.uint16))
    with pytest.raises(
        ValueError, match=r"deep.png: label value 1000 is outside 1..2 and not in 'ignore' \[0, 9\]"
    ):
        data.read_label(root / "deep.png")
    save(root / "colour.png", np.full((*SIZE, 3), (1, 2, 3), np.uint8))
    with pytest.raises(ValueError, match=r"colour.png: a colour picture with 1 colours"):
        data.read_label(root / "colour.png")


def test_dataset_equals_what_the_page_reads(tmp_path):
    fill(tmp_path, kind=np.uint16)
    file = describe(tmp_path, modality="depth", unit="mm", max_metres=8)
    dataset = build_dataset(str(file), None, "train")
    assert isinstance(dataset, CustomPairDataset)
    assert (dataset.name, dataset.modality, dataset.modalities) == ("farm", "depth", ("depth",))
    assert (dataset.num_classes, dataset.classes) == (2, ("soil", "tree"))
    assert InputConfig(**dataset.input_config).max_metres == 8
    sample, (rgb, x, _) = dataset[3], dataset.files(3)
    inputs = InputConfig(modality="depth", encoding="depth", max_metres=8)
    page = encode_x(read_x(x), inputs, SIZE, XOptions(unit="mm"))
    assert np.array_equal(sample.modal_x[..., None].repeat(3, axis=-1), page.image * np.float32(255))
    assert np.array_equal(sample.rgb, read_image_rgb(rgb))
    assert sorted(np.unique(sample.label).tolist()) == [0, 1, 255]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_images_of_either_depth(tmp_path, kind):
    fill(tmp_path, kind=kind)
    dataset = build_dataset(str(describe(tmp_path)), None, "train")
    modal_x = dataset[0].modal_x
    page = encode_x(read_x(dataset.files(0)[1]), InputConfig(**dataset.input_config), SIZE)
    assert modal_x.shape == (*SIZE, 3)
    assert modal_x.dtype == (np.uint8 if kind == np.uint8 else np.float32)
    np.testing.assert_allclose(modal_x.astype(np.float32) / 255, page.image, atol=1e-6)


def test_x_of_another_size_but_the_same_view_is_fitted(root):
    save(root / "x/a.png", np.full((64, 80), 100, np.uint8))
    assert (build_dataset(str(describe(root)), None, "train")[0].modal_x == 100).all()
    save(root / "x/a.png", np.full((80, 64), 100, np.uint8))
    with pytest.raises(ValueError, match=r"x/a.png: .*proportions differ.*Expected layout of farm: .*x 'x'"):
        build_dataset(str(describe(root)), None, "train")[0]


def test_depth_unit_is_guessed_once_for_all_files(tmp_path):
    fill(tmp_path, kind=np.uint16)
    assert CustomDataset(describe(tmp_path, modality="depth")).unit == "mm"
    assert CustomDataset(describe(tmp_path, modality="depth", encoding="image")).encoding == "image"
    save(tmp_path / "x/a.png", np.full(SIZE, 40_000, np.uint16))
    with pytest.raises(
        ValueError, match=r"key 'unit': auto guesses different units: '0.1mm' for .*a.png, 'mm' for"
    ):
        _ = CustomDataset(describe(tmp_path, modality="depth")).unit
    assert CustomDataset(describe(tmp_path, modality="depth", unit="mm")).unit == "mm"
    save(tmp_path / "x/a.png", np.zeros(SIZE, np.uint16))
    with pytest.raises(ValueError, match=r"key 'x': .*a.png: the depth map has no measurement"):
        _ = CustomDataset(describe(tmp_path, modality="depth")).unit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thermals": "x"}, "key 'thermals' is not known; allowed: name, root, rgb, x, labels"),
        ({"labelz": "x"}, "key 'labelz' is not known; .*Did you mean 'labels'"),
        ({"rgb": None}, "key 'rgb' is missing; allowed: a folder, a glob"),
        ({"modality": "thermic"}, "key 'modality' is 'thermic'.*allowed: depth, hha.*Did you mean 'thermal'"),
        ({"encoding": "picture"}, "key 'encoding' is 'picture'.*allowed: depth, image"),
        ({"unit": "mms"}, "key 'unit' is 'mms': no such unit; allowed: auto, mm, .*Did you mean 'mm'"),
        (
            {"unit": "mm"},
            "key 'unit' is 'mm': no unit of thermal, which has raw, C, K, 0.01K, 0.1K, 0.1C, 0.01C",
        ),
        ({"modality": "nir", "unit": "C"}, "key 'unit' is 'C': no unit of nir, which has no unit"),
        (
            {"range": [40, 20]},
            r"key 'range' is \[40, 20\]: the lower number comes first; allowed: \[low, high\]",
        ),
        ({"range": [40]}, r"key 'range.1' is .*allowed: \[low, high\]"),
        ({"modality": "depth", "range": [0, 9]}, "key 'range' .*only for modality thermal or nir, not depth"),
        ({"modality": "nir", "hot": "black"}, "'hot' is 'black': only for modality thermal, not nir"),
        ({"hot": "blac"}, "key 'hot' is 'blac'.*allowed: white, black. Did you mean 'black'"),
        ({"percentiles": [5, 101]}, r"percentiles are \(5.0, 101.0\); give two in 0..100"),
        ({"event_window_ms": 50}, "'event_window_ms' is 50: only for modality event, not thermal"),
        ({"modality": "event", "event_window_ms": 0}, "'event_window_ms' is 0.*a positive time"),
        ({"columns": "txyp"}, "'columns' is 'txyp': only for modality event, not thermal"),
        ({"modality": "event", "time_unit": "h"}, "'time_unit' is 'h'.*allowed: auto, s, ms, us, ns"),
        ({"modality": "event", "sensor": [0, 5]}, r"sensor_hw \(0.*give height and width"),
        ({"modality": "event", "sensor": [480]}, r"key 'sensor.1' .*allowed: \[height, width\]"),
        ({"field_of_view": 60}, "'field_of_view' is 60: only for modality hha, not thermal"),
        ({"modality": "hha", "field_of_view": 190}, "farm.yaml: .*field of view"),
        ({"modality": "hha", "intrinsics": [1, 2]}, r"key 'intrinsics.[23]' .*allowed: \[fx, fy, cx, cy\]"),
        ({"max_metres": -1}, "key 'max_metres' is -1: .*greater than 0; allowed: a positive distance"),
        ({"classes": []}, "key 'classes' is .*allowed: a list of names"),
        ({"classes": "soil"}, "key 'classes' is 'soil'.*allowed: a list of names"),
        ({"classes": ["soil", 7]}, "key 'classes.1' is 7.*allowed: a list of names"),
        (
            {"classes": [{"name": "soil", "colour": "#00ff00"}]},
            "'classes.0.colour' is not .*name, color. Did you",
        ),
        ({"classes": [{"name": "soil", "color": "green"}]}, "'classes.0.color' is 'green': give \"#rrggbb\""),
        (
            {"classes": [{"name": "soil", "color": None}]},
            "'classes.0.color' is None: empty; write .* in quotes",
        ),
        (
            {"classes": [{"name": "soil", "color": [0, 0, 300]}]},
            "key 'classes': .*300.* is not three numbers",
        ),
        ({"classes": ["soil", "soil"]}, "key 'classes': .*class name soil is used twice"),
        ({"label_offset": 0.5}, "key 'label_offset' is 0.5.*allowed: a whole number"),
        ({"ignore": ["void"]}, "key 'ignore.0' is 'void'.*allowed: a list of stored label values"),
        (
            {"split": {"train": 0.9, "test": 0.2}},
            "'split' .*fractions must be above 0 and add up to at most 1",
        ),
        ({"split": {"train": 0.9, "test": "t.txt"}}, "'split' .*fractions and files cannot be mixed"),
        ({"split": {"training": 0.9}}, "key 'split.training.*allowed: train, val, test"),
        ({"split": {"train": [1]}}, r"key 'split.train.float' is \[1\].*allowed: train, val, test"),
        ({"name": "nyuv2"}, "key 'name' is 'nyuv2': this is the name of a benchmark"),
        ({"root": "nowhere"}, "key 'root': the folder .*nowhere does not exist"),
    ],
)
def test_messages_of_the_file(root, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        CustomDataset(describe(root, **changes))
    assert str(caught.value).startswith(f"{root / 'farm.yaml'}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rgb: [", "not valid YAML: .*line 1"),
        ("- rgb", "expected 'key: value' lines; needed are rgb, x, modality and classes"),
        ("3: x", "key '3' is not known"),
        ("", "expected 'key: value' lines"),
        ("!!python/object/apply:os.getcwd []", "not valid YAML: could not determine a constructor"),
        ("#" * (2**20 + 1), "are too many"),
    ],
)
def test_files_that_are_no_description(tmp_path, text, message):
    (tmp_path / "farm.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        CustomDataset(tmp_path / "farm.yaml")


def test_keys_reach_configuration_and_options(root):
    thermal = CustomDataset(describe(root, unit="C", range=[0, 50], percentiles=[2, 98], hot="black"))
    inputs = InputConfig(**thermal.input_config)
    assert (inputs.range_low, inputs.range_high, inputs.percentiles, inputs.hot) == (0, 50, (2, 98), "black")
    assert thermal.x_options == XOptions(modality="thermal", unit="C", byte_order="stored")
    events = {"modality": "event", "columns": "xytp", "time_unit": "ns", "sensor": [48, 64]}
    data = CustomDataset(describe(root, event_window_ms=33, encoding="event_surface", **events))
    inputs = InputConfig(**data.input_config)
    assert (inputs.event_window_ms, inputs.encoding) == (33, "event_surface")
    expected = XOptions(modality="event", columns="xytp", time_unit="ns", sensor_hw=(48, 64))
    assert data.x_options == expected
    camera = CustomDataset(describe(root, modality="hha", unit="mm", intrinsics=[50, 51, 20, 16])).x_options
    assert (camera.intrinsics, camera.unit) == ((50, 51, 20, 16), "mm")


def test_thermal_unit_is_guessed_once_where_a_range_needs_it(tmp_path):
    fill(tmp_path)
    for name, low in zip("abcdefghij", [7000] + [28000] * 9):
        levels = np.random.default_rng(3).integers(low, low + 2000, SIZE).astype(np.uint16)
        save(tmp_path / f"x/{name}.png", levels)
    assert CustomDataset(describe(tmp_path)).unit == "auto"  # a stretch is the same in every unit
    with pytest.raises(
        ValueError, match=r"key 'unit': auto guesses different units: 'raw' for .*'0.01K' for"
    ):
        _ = CustomDataset(describe(tmp_path, range=[0, 50])).unit
    assert CustomDataset(describe(tmp_path, range=[0, 50], unit="0.01K")).unit == "0.01K"
    (tmp_path / "x/a.png").unlink()
    assert CustomDataset(describe(tmp_path, range=[0, 50])).unit == "0.01K"


def test_ready_made_hha_has_no_unit(tmp_path):
    fill(tmp_path)
    for name in "abcdefghij":
        save(
            tmp_path / f"x/{name}.png", np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        )
    assert CustomDataset(describe(tmp_path, modality="hha")).unit == "auto"
    fill(tmp_path, kind=np.uint16)
    assert CustomDataset(describe(tmp_path, modality="hha")).unit == "mm"


def test_a_text_beside_the_pictures_is_x_for_events_only(root):
    (root / "x/a.txt").write_text("notes")
    assert CustomDataset(describe(root)).pairs("train")[0].x == root / "x/a.png"
    with pytest.raises(ValueError, match=r"a\.(png|txt) are both 'a'"):
        CustomDataset(describe(root, modality="event")).pairs("train")
    places = {"modality": "event", "x": "x/*.txt", "labels": None, "rgb": "rgb/a*.jpg"}
    assert CustomDataset(describe(root, **places)).pairs("train")[0].x == root / "x/a.txt"


def test_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.yaml: cannot be read \(No such file"):
        CustomDataset(tmp_path / "nowhere.yaml")


def test_all_wrong_keys_are_named_at_once(root):
    with pytest.raises(ValueError) as caught:
        CustomDataset(describe(root, unit="x", modality="y", zzz=1))
    assert str(caught.value).count("farm.yaml: key") == 3


def test_nested_aliases_do_no_harm(root):
    """A "billion laughs" file is refused at once."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    (root / "farm.yaml").write_text("\n".join([*lines, "classes: *a29"]))
    with pytest.raises(ValueError) as caught:
        CustomDataset(root / "farm.yaml")
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rgb": "rbg"}, r"key 'rgb': the folder .*rbg does not exist. Did you mean 'rgb'\?"),
        ({"x": "x/*.tif"}, r"key 'x': 'x/\*.tif' finds no picture or array .*in .*x"),
        ({"x": "x/{name}_ir.png"}, r"key 'x': 'x/\{name\}_ir.png' finds no picture"),
        ({"split": {"train": "t.txt"}}, r"key 'split.train': there is no file .*t.txt; list one name a line"),
        ({"split": {"train": "bad.txt"}}, r"key 'split.train': .*bad.txt names 'photo_q', no photo does"),
        ({"split": {"train": "empty.txt"}}, r"key 'split': 'train' has no pair, of 10 photos in all"),
    ],
)
def test_messages_of_what_the_file_names(root, changes, message):
    (root / "bad.txt").write_text("a\nphoto_q\n")
    (root / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match=message) as caught:
        CustomDataset(describe(root, **changes)).pairs("train")
    assert str(caught.value).startswith(f"{root / 'farm.yaml'}: ")


def test_unknown_split_and_modality(root):
    file = describe(root)
    with pytest.raises(
        ValueError, match=r"key 'split': there is no 'trian', the file has train. Did you mean 'train'"
    ):
        CustomDataset(file).pairs("trian")
    with pytest.raises(ValueError, match=r"farm.yaml: modality 'depth' is not known; choose from thermal"):
        build_dataset(str(file), None, "train", modality="depth")
    assert build_dataset(str(file), None, "train", modality="thermal").modality == "thermal"


def test_missing_partners(root):
    for name in "ab":
        (root / f"labels/{name}.png").unlink()
    file = describe(root)
    message = (
        r"key 'labels': no file for 2 of 10 photos \(such as a, b\), expected .*a\.\*; found are c, d, e"
    )
    with pytest.raises(ValueError, match=message):
        CustomDataset(file).pairs("train")
    with pytest.raises(ValueError, match=message):
        build_dataset(str(file), None, "train")
    dataset = build_dataset(str(file), None, "train", verify=False)
    assert [name for name, _ in dataset.missing_files()] == ["a", "b"]
    with pytest.raises(ValueError, match=r"a.\*: there is no such file"):
        dataset[0]


def test_wrong_files_are_named_with_the_layout(root):
    save(root / "labels/b.png", np.full(SIZE, 2, np.uint8))
    (root / "rgb/c.jpg").write_bytes(b"no picture")
    dataset = build_dataset(str(describe(root)), None, "train")
    with pytest.raises(
        ValueError, match=r"labels/b.png: .*value 2 is outside 0..1 .*Expected layout of farm: .*labels"
    ):
        dataset[1]
    with pytest.raises(ValueError, match=r"rgb/c.jpg: .*this is a text; save pictures as PNG"):
        dataset[2]
