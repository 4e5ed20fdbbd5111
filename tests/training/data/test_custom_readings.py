"""How X and labels of a custom dataset are read, once for the set, and what the check says about them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from ktb.config import InputConfig, ModelConfig
from ktb.datasets.custom import CustomDataset
from ktb.datasets.labels import LabelRule, judge
from ktb.inputs import XOptions, encode_x, read_x
from ktb.modalities import NEAR_DARK
from ktb.modeling.build import lite_config
from training.check import check, main
from training.data.datasets import build_dataset

SIZE = (48, 64)


def make(folder: Path, xs, labels, suffix=".png", label_suffix=".png", **keys) -> Path:
    """Write one pair per X; labels are arrays or a function of a path that writes one."""
    rng = np.random.default_rng(0)
    for number, x in enumerate(xs):
        for name in ("rgb", "x", "labels"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        photo = rng.integers(0, 256, (*x.shape[:2], 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"rgb/{number:03d}.png"), photo)
        if suffix == ".npy":
            np.save(folder / f"x/{number:03d}.npy", x)
        else:
            assert cv2.imwrite(str(folder / f"x/{number:03d}{suffix}"), x)
        label = labels[number % len(labels)]
        Image.fromarray(label).save(folder / f"labels/{number:03d}{label_suffix}")
    file = folder / "data.yaml"
    file.write_text(yaml.safe_dump({"rgb": "rgb", "x": "x", "labels": "labels"} | keys))
    return file


def halves(first: int, second: int, size=SIZE) -> np.ndarray:
    label = np.full(size, first, np.uint8)
    label[size[0] // 2 :] = second
    return label


def walls(levels_per_metre: float, count: int = 3) -> list[np.ndarray]:
    """A wall at 6.00 m with a box at 1.50 m before it, as in case 01."""
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        depth = 6.0 + rng.normal(0, 0.02, SIZE)
        depth[12:30, 20:40] = 1.5
        found.append(np.rint(depth * levels_per_metre).astype(np.uint16))
    return found


DEPTH = {"modality": "depth", "classes": ["wall", "box"], "split": {"train": 0.7, "test": 0.3}}


def trained_on(file: Path) -> InputConfig:
    """The inputs of a model trained on this file, as its checkpoint stores them."""
    config = lite_config("nyuv2", InputConfig(**CustomDataset(file).input_config), "mine")
    return ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))).inputs


@pytest.mark.parametrize("said", [{"unit": "1/256m"}, {"depth_scale": 256}, {"unit": 256}])
def test_a_model_knows_the_unit_of_its_training(tmp_path, said):
    file = make(tmp_path, walls(256), [halves(0, 1)], **DEPTH, **said)
    inputs = trained_on(file)
    assert (inputs.unit, inputs.stored) == ("1/256m", "levels")
    found = encode_x(read_x(tmp_path / "x/000.png"), inputs)
    assert found.depth.median == pytest.approx(6.0, abs=0.01)
    assert found.depth.minimum == pytest.approx(1.5, abs=0.01)
    assert found.facts["unit"] == "1/256 m (KITTI) (as in training)"
    assert found.warnings == ()
    dataset = build_dataset(str(file), None, "train")
    again = encode_x(read_x(dataset.files(0)[1]), inputs)
    assert np.array_equal(dataset[0].modal_x, again.image[..., 0] * np.float32(255))


def test_an_unusual_scale_is_followed_where_a_guess_would_be_another(tmp_path):
    """An endoscope's depth, 0 to 0.1 m in 16 bits: by a guess these would be millimetres."""
    values = [np.rint(np.full(SIZE, 0.04) * 655_350).astype(np.uint16)] * 2
    inputs = trained_on(make(tmp_path, values, [halves(0, 1)], **DEPTH, unit="655350", max_metres=0.1))
    assert encode_x(read_x(tmp_path / "x/000.png"), inputs).depth.median == pytest.approx(0.04, abs=1e-4)


def test_a_file_that_contradicts_the_training_is_read_by_itself_with_a_warning(tmp_path):
    inputs = trained_on(make(tmp_path, walls(256), [halves(0, 1)], **DEPTH, unit="1/256m"))
    metres = (walls(256)[0] / 256).astype(np.float32)
    found = encode_x(metres, inputs)
    assert found.depth.median == pytest.approx(6.0, abs=0.01)
    (warning,) = found.warnings
    assert warning.startswith("This checkpoint was trained with X in 1/256 m (KITTI)")
    assert "read by itself as metres (likely)" in warning
    said = encode_x(metres, inputs, options=XOptions(unit="m"))
    assert said.warnings == ()


def test_a_guess_is_made_once_and_stored(tmp_path):
    file = make(tmp_path, walls(1000), [halves(0, 1)], **DEPTH)
    inputs = trained_on(file)
    assert inputs.unit == "mm"
    assert "(as in training)" in encode_x(read_x(tmp_path / "x/000.png"), inputs).facts["unit"]
    assert CustomDataset(file).x_options.surety in ("likely", "guess")


def test_angles_of_a_set_have_one_unit(tmp_path):
    """Files up to 180 would be degrees by themselves, the others 0 to 255."""
    rng = np.random.default_rng(0)
    xs = [rng.integers(0, top, SIZE).astype(np.uint8) for top in (150, 256, 170)]
    inputs = trained_on(make(tmp_path, xs, [halves(0, 1)], **DEPTH | {"modality": "aolp"}))
    assert inputs.unit == "0..255"
    found = encode_x(read_x(tmp_path / "x/000.png"), inputs)
    phi = xs[0].astype(np.float64) / 255 * np.pi
    assert found.image[..., 0] == pytest.approx(np.sin(2 * phi), abs=1e-5)


def test_degrees_of_polarization_of_a_set_have_one_unit(tmp_path):
    xs = [np.full(SIZE, value, np.float32) for value in (0.5, 40.0)]
    inputs = trained_on(make(tmp_path, xs, [halves(0, 1)], ".npy", **DEPTH | {"modality": "dolp"}))
    assert inputs.unit == "percent"
    assert encode_x(read_x(tmp_path / "x/000.npy"), inputs).image.max() == pytest.approx(0.005)


def test_near_infrared_of_a_set_has_one_white(tmp_path):
    xs = [np.full(SIZE, value, np.uint16) for value in (900, 4000, 2000)]
    xs = [x + np.arange(SIZE[1], dtype=np.uint16) for x in xs]
    inputs = trained_on(make(tmp_path, xs, [halves(0, 1)], **DEPTH | {"modality": "nir"}))
    assert (inputs.range_low, inputs.range_high) == (0.0, 4095.0)
    assert encode_x(read_x(tmp_path / "x/000.png"), inputs).image.min() == pytest.approx(900 / 4095)


def test_files_that_disagree_are_refused_with_the_key_to_say(tmp_path):
    xs = [*walls(1000, 2), (walls(1000)[0] * 5).astype(np.uint16)]
    file = make(tmp_path, xs, [halves(0, 1)], **DEPTH)
    with pytest.raises(ValueError, match=r"key 'unit': auto guesses different units: .*; name the unit"):
        _ = CustomDataset(file).reading


def events(folder: Path, name: str, order: str, side: int) -> None:
    rng = np.random.default_rng(0)
    columns = {"t": np.sort(rng.uniform(0, 0.1, 4000)), "p": rng.integers(0, 2, 4000)}
    columns |= {"x": rng.integers(0, side, 4000), "y": rng.integers(0, side, 4000)}
    rows = np.stack([columns[letter] for letter in order], axis=-1)
    np.savetxt(folder / name, rows, fmt="%.9g")


def test_columns_time_unit_and_sensor_of_events_belong_to_the_model(tmp_path):
    file = tmp_path / "data.yaml"
    (tmp_path / "x").mkdir()
    (tmp_path / "rgb").mkdir()
    cv2.imwrite(str(tmp_path / "rgb/a.png"), np.zeros((260, 346, 3), np.uint8))
    events(tmp_path / "x", "a.txt", "tyxp", 100)
    keys = {"rgb": "rgb", "x": "x", "modality": "event", "classes": ["a"], "columns": "tyxp"}
    file.write_text(yaml.safe_dump(keys | {"time_unit": "s", "sensor": [260, 346]}))
    inputs = trained_on(file)
    assert (inputs.columns, inputs.time_unit, inputs.sensor_hw) == ("tyxp", "s", (260, 346))
    raw = read_x(tmp_path / "x/a.txt", options=XOptions().as_trained(inputs))
    assert raw.size_hw == (260, 346)
    assert raw.facts["columns"] == "t y x p (as in training)"
    said = read_x(tmp_path / "x/a.txt", options=XOptions(columns="tyxp", time_unit="s", sensor_hw=(260, 346)))
    assert np.array_equal(raw.data.x, said.data.x)
    assert encode_x(raw, inputs).warnings == ()
    guessed = read_x(tmp_path / "x/a.txt")
    assert any("sensor_hw of these events was guessed" in text for text in encode_x(guessed, inputs).warnings)


def test_a_recording_of_another_sensor_is_not_cut_to_that_of_the_training(tmp_path):
    events(tmp_path, "wide.txt", "txyp", 300)
    inputs = InputConfig(modality="event", encoding="event_frame", sensor_hw=(180, 240))
    raw = read_x(tmp_path / "wide.txt", options=XOptions().as_trained(inputs))
    assert raw.size_hw[0] >= 300 or raw.size_hw[1] >= 300
    assert any("outside the sensor of the checkpoint's training, 240 x 180" in note for note in raw.notes)


def test_an_evaluation_reads_x_as_the_model_was_trained(tmp_path):
    file = make(tmp_path, walls(256), [halves(0, 1)], **DEPTH)
    inputs = InputConfig(modality="depth", encoding="depth", unit="1/256m", stored="levels")
    told = build_dataset(str(file), None, "test", trained=inputs)[0].modal_x
    assert np.median(told) == pytest.approx(255 * 0.6, abs=0.5)
    assert np.median(build_dataset(str(file), None, "test")[0].modal_x) == pytest.approx(
        255 * 0.1536, abs=0.5
    )


def test_an_evaluation_of_other_files_does_not_take_the_unit_of_the_training(tmp_path):
    file = make(tmp_path, walls(1000), [halves(0, 1)], **DEPTH)
    inputs = InputConfig(modality="depth", encoding="depth", unit=NEAR_DARK, stored="8-bit")
    assert CustomDataset(file, trained=inputs).unit == "mm"


def disparities() -> list[np.ndarray]:
    """Cityscapes' disparity under the name of depth, as in case 12."""
    y = np.mgrid[:96, :192][0]
    return [
        np.rint(np.clip((y - 40) / 56 * 110 + 4 + i, 2, 126) * 256 + 1).astype(np.uint16) for i in range(6)
    ]


def test_the_check_says_how_x_is_read_and_counts_warnings(tmp_path, capsys):
    file = make(tmp_path, disparities(), [halves(0, 1, (96, 192))], **DEPTH)
    assert main([str(file), "--out", str(tmp_path / "out")]) == 0
    reading = json.loads((tmp_path / "out/report.json").read_text())["x_reading"]
    assert (reading["unit"], reading["surety"]) == ("millimetres", "guess, from 6 files")
    ((warning, count),) = reading["warnings"].items()
    assert count == 6
    assert "disparity or inverse depth" in warning
    told = capsys.readouterr().out
    assert "X is read as millimetres (guess, from 6 files): integers with a median of" in told
    assert told.count("disparity or inverse depth") == 1
    assert "X WARNING in 6 of 6 files" in told


def test_the_check_of_a_said_unit(tmp_path, capsys):
    file = make(tmp_path, walls(4000), [halves(0, 1)], **DEPTH, unit="0.25mm")
    assert main([str(file)]) == 0
    assert "X is read as 1/4000 m, 0.25 mm per level (certain)" in capsys.readouterr().out


def masks() -> list[np.ndarray]:
    return [halves(0, 255), np.zeros(SIZE, np.uint8)]


def test_a_mask_of_0_and_255_is_a_problem_with_a_remedy(tmp_path, capsys):
    keys = DEPTH | {"classes": ["background", "object"]}
    file = make(tmp_path, walls(1000, 4), masks(), **keys)
    assert main([str(file)]) == 1
    told = capsys.readouterr().out
    assert "the class 'object' occurs in no label, while 25.0 % of the pixels are 255" in told
    assert "values: {0: background, 255: object}" in told
    file = make(tmp_path, walls(1000, 4), masks(), **keys, values={0: "background", 255: "object"})
    report, _ = check(str(file), None, progress=False)
    assert report["problems"] == []
    shares = report["splits"]["train"]["label_share"]
    assert shares["background"] + shares["object"] == pytest.approx(1)
    labels = [build_dataset(str(file), None, "train")[i].label for i in range(2)]
    assert {1} < set(np.unique(labels)) <= {0, 1}
    file = make(tmp_path, walls(1000, 4), masks(), **keys, ignore=[255])  # said: no doubt is left
    assert check(str(file), None, progress=False)[0]["problems"] == []


@pytest.mark.parametrize("kind", [".jpg", ".webp"])
def test_lossy_labels_are_problems(tmp_path, kind):
    file = make(tmp_path, walls(1000, 3), [halves(0, 1)], label_suffix=kind, **DEPTH)
    report, _ = check(str(file), None, progress=False)
    assert len(report["problems"]) == 3
    what = {".jpg": "JPEG", ".webp": "WEBP"}[kind]
    assert all(f"a {what} picture loses class numbers" in problem["what"] for problem in report["problems"])


def test_a_jpeg_under_the_name_of_a_png_is_still_one(tmp_path):
    file = make(tmp_path, walls(1000, 2), [halves(0, 1)], **DEPTH)
    Image.fromarray(halves(0, 1)).save(tmp_path / "labels/000.png", format="jpeg")
    problems = check(str(file), None, progress=False)[0]["problems"]
    assert any("a JPEG picture loses class numbers" in problem["what"] for problem in problems)


def test_labels_in_three_equal_channels_palettes_and_colours_of_the_classes(tmp_path):
    label = halves(0, 1)
    classes = [{"name": "wall", "color": "#102030"}, {"name": "box", "color": "#ff0000"}]
    data = CustomDataset(make(tmp_path, walls(1000, 2), [label], **DEPTH | {"classes": classes}))
    for name, picture in {
        "equal": Image.fromarray(np.stack([label] * 3, axis=-1)),
        "palette": Image.fromarray(label).convert("P"),
        "colours": Image.fromarray(np.array([(16, 32, 48), (255, 0, 0)], np.uint8)[label]),
        "bits": Image.fromarray(label * 255).convert("1"),
    }.items():
        if name == "palette":
            picture = Image.fromarray(label)
            picture.putpalette([0, 0, 0, 255, 255, 255])
        picture.save(tmp_path / f"{name}.png")
        assert np.array_equal(data.read_label(tmp_path / f"{name}.png"), label), name
    cv2.imwrite(str(tmp_path / "map.pgm"), label)
    assert np.array_equal(data.read_label(tmp_path / "map.pgm"), label)
    Image.fromarray(np.full((*SIZE, 3), (1, 2, 3), np.uint8)).save(tmp_path / "other.png")
    with pytest.raises(ValueError, match="not in the classes' colours in the YAML file"):
        data.read_label(tmp_path / "other.png")


def rule(count: int, is_said: bool = False) -> LabelRule:
    names = tuple(f"c{i}" for i in range(count))
    palette = tuple((i, 0, 0) for i in range(count))
    return LabelRule(names, palette, {i: i for i in range(count)}, frozenset({255}), is_said)


@pytest.mark.parametrize(
    ("counts", "remedy"),
    [
        ({1: 50, 2: 30, 3: 20}, "say label_offset: 1"),
        ({0: 5, 1: 50, 2: 30, 3: 20}, "label_offset: 1 and ignore: [0, 255]"),
        ({0: 50, 128: 30, 255: 20}, "values: {0: c0, 128: c1, 255: c2}"),
        ({0: 50, 85: 30, 170: 20, 7: 1, 9: 1}, "or list them in 'ignore'"),
        (dict.fromkeys(range(256), 9), "export it without anti-aliasing"),
    ],
)
def test_values_of_no_class_are_judged_by_the_whole_set(counts, remedy):
    ((problem,), notes) = judge(counts, rule(3))
    assert remedy in problem
    assert notes == []


def test_counting_from_one_is_noticed_without_the_highest_class():
    problems, (note,) = judge({1: 50, 2: 30}, rule(3))
    assert problems == []
    assert "label_offset: 1" in note
    assert judge({0: 1, 1: 50, 2: 30}, rule(3)) == ([], [])
    assert judge({0: 1, 1: 50, 255: 30}, rule(3, is_said=True)) == ([], [])


def test_eight_bits_follow_the_direction_of_the_training_with_a_doubt(tmp_path):
    """NYUv2 stores near as dark; a guess by the picture's bottom would take this one for near bright."""
    rows = np.linspace(100, 180, SIZE[0])[:, None] + np.zeros(SIZE[1])
    old = lite_config("nyuv2", InputConfig(modality="depth", encoding="depth"), "old").to_dict()
    for name in ("unit", "stored", "columns", "time_unit", "sensor_hw"):
        del old["inputs"][name]  # as a checkpoint from before
    inputs = ModelConfig.from_dict(json.loads(json.dumps(old))).inputs
    found = encode_x(rows.astype(np.uint8), inputs)
    assert found.depth.median == pytest.approx(140 / 25.5, abs=0.1)
    (warning,) = found.warnings
    assert "is dark where near" in warning
    assert "choose the unit '8-bit near bright'" in warning
    assert encode_x(rows[::-1].astype(np.uint8), inputs).warnings == ()
    millimetres = encode_x((rows * 25).astype(np.uint16), inputs)
    assert millimetres.depth.unit == "mm"
    assert not any("trained with" in text for text in millimetres.warnings)


def test_no_test_frame_of_nyu_is_inverted(shared):
    root = shared / "data/NYUDepthv2"
    inputs = InputConfig(modality="depth", encoding="depth", unit=NEAR_DARK, stored="8-bit")
    for name in ("0017", "0018", "0678", "0707", "0759", "0763", "1003"):  # brighter below than above
        found = encode_x(read_x(root / f"Depth/{name}.png"), inputs)
        assert found.depth.unit == NEAR_DARK
        assert found.warnings == ()


def test_the_depth_camera_of_hha_belongs_to_the_model(tmp_path):
    rows = np.linspace(4000, 1000, SIZE[0])[:, None] + np.zeros(SIZE[1])
    keys = DEPTH | {"modality": "hha", "unit": "mm", "intrinsics": [60.0, 60.0, 31.5, 23.5]}
    inputs = trained_on(make(tmp_path, [rows.astype(np.uint16)] * 2, [halves(0, 1)], **keys))
    raw = read_x(tmp_path / "x/000.png")
    found = encode_x(raw, inputs)
    said = encode_x(raw, inputs, options=XOptions(unit="mm", intrinsics=(60.0, 60.0, 31.5, 23.5)))
    assert np.array_equal(found.image, said.image)
    assert found.facts["camera"].endswith("pixels (as in training)")
    assert not any("ASSUMED" in text for text in found.warnings)
    larger = encode_x(np.kron(raw.data, np.ones((3, 3), np.uint16)), inputs)
    assert any("does not fit an image of 192 x 144" in text for text in larger.warnings)
