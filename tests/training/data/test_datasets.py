"""The datasets on miniature trees: layouts, bit depths, label rules, conditions and messages."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.trees import TREES, codes, make_tree, picture, write
from PIL import Image

from ktb.config import InputConfig
from ktb.inputs import encode_x
from ktb.labels import DATASETS
from ktb.modalities import DEFAULT_ENCODINGS
from training.data.datasets import REGISTRY, build_dataset, hold_out
from training.data.datasets.base import HELD_BLOCKS
from training.data.datasets.deliver import corruption_case
from training.data.datasets.sample import LayoutError
from training.data.open import frames_to_score

ALL = [(name, modality) for name, kind in REGISTRY.items() for modality in kind.modalities]


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> Path:
    """All trees, only to be read."""
    root = tmp_path_factory.mktemp("trees")
    for name in TREES:
        make_tree(name, root / name)
    return root


@pytest.fixture
def root(tmp_path) -> Path:
    """NYUv2, to be spoilt."""
    return make_tree("nyuv2", tmp_path / "nyuv2")


@pytest.mark.parametrize(("name", "modality"), ALL)
def test_every_split_of_every_dataset_reads(trees, name, modality):
    kind, labels = REGISTRY[name], DATASETS[name]
    for split in kind.splits:
        dataset = build_dataset(name, trees / name, split, modality=modality)
        assert len(dataset) == len(dataset.names) == 2
        assert (dataset.name, dataset.split, dataset.modality) == (name, split, modality)
        assert (dataset.classes, dataset.palette) == (labels.classes, labels.palette)
        assert dataset.num_classes == labels.num_classes
        for index, expected in enumerate(dataset.names):
            sample = dataset[index]
            assert sample.name == expected
            assert sample.rgb.shape == (8, 12, 3)
            assert sample.rgb.dtype == sample.label.dtype == np.uint8
            assert sample.modal_x.dtype in (np.uint8, np.float32)
            assert sample.modal_x.shape[:2] == sample.label.shape == (8, 12)
            assert np.abs(sample.modal_x).max() <= 255
            assert all(file.is_file() for file in dataset.files(index))
            assert len(dataset.files(index)) == (2 if name == "camvid" else 4 if modality == "aolp" else 3)


def test_first_modality_is_the_default(trees):
    for name, kind in REGISTRY.items():
        assert build_dataset(name, trees / name, "train").modality == kind.modalities[0]


def test_modalities_and_splits_fit_the_library():
    for kind in REGISTRY.values():
        assert set(kind.published) <= set(kind.splits)
        for modality in kind.modalities:
            assert InputConfig(modality=modality).modality == modality


@pytest.mark.parametrize(("name", "modality"), ALL)
def test_input_fields_are_those_of_the_configuration(trees, name, modality):
    fields = build_dataset(name, trees / name, "train", modality=modality).input_config
    as_picture = (modality == "depth" and name != "nyuv2") or (name, modality) == ("deliver", "event")
    expected = "image" if as_picture else DEFAULT_ENCODINGS[modality]
    assert (InputConfig(**fields).modality, InputConfig(**fields).encoding) == (modality, expected)


@pytest.mark.parametrize(
    ("name", "stored", "expected"),
    [
        ("nyuv2", [0, 1, 2, 39, 40], [255, 0, 1, 38, 39]),
        ("sunrgbd", [0, 1, 2, 36, 37], [255, 0, 1, 35, 36]),
        ("mfnet", [0, 1, 8], [0, 1, 8]),
        ("pst900", [0, 1, 4], [0, 1, 4]),
        ("mcubes", [0, 1, 19, 255], [0, 1, 19, 255]),
        ("deliver", [0, 1, 2, 25, 255], [255, 0, 1, 24, 255]),
        ("camvid", [0, 1, 10, 255], [0, 1, 10, 255]),
    ],
)
def test_label_rules(tmp_path, name, stored, expected):
    dataset = build_dataset(name, make_tree(name, tmp_path), "train")
    label = codes(stored, (8, 12 + 192 if name == "mcubes" else 12))
    if name == "mcubes":
        label = np.concatenate([codes([0], (8, 192)), codes(stored, (8, 12))], axis=1)
    if name == "deliver":
        label = np.stack([label, np.full_like(label, 200), np.full_like(label, 99)], axis=-1)
    write(dataset.files(0)[-1], label)
    assert np.array_equal(dataset[0].label, codes(expected, (8, 12)))


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("nyuv2", 41, "1..40 (and 0 = ignored)"),
        ("sunrgbd", 38, "1..37 (and 0 = ignored)"),
        ("mfnet", 9, "0..8"),
        ("pst900", 255, "0..4"),
        ("mcubes", 20, "0..19 (and 255 = ignored)"),
        ("deliver", 26, "1..25 (and 0, 255 = ignored)"),
        ("camvid", 11, "0..10 (and 255 = ignored)"),
    ],
)
def test_labels_outside_the_range_are_named(tmp_path, name, value, allowed):
    dataset = build_dataset(name, make_tree(name, tmp_path), "train")
    file = dataset.files(0)[-1]
    write(file, np.full((8, 204 if name == "mcubes" else 12), value, np.uint8))
    with pytest.raises(LayoutError) as caught:
        dataset[0]
    assert caught.value.path == file
    assert f"label value {value} is outside {allowed}. Expected layout of {name}: ROOT/" in str(caught.value)


def test_rgb_order_and_palette_labels(root):
    red = np.zeros((8, 12, 3), np.uint8)
    red[..., 0] = 250
    write(root / "RGB/0001.jpg", red)
    coloured = Image.fromarray(codes([0, 1, 40], (8, 12)), "P")
    coloured.putpalette(list(range(256)) * 3)
    coloured.save(root / "Label/0001.png")
    sample = build_dataset("nyuv2", root, "train")[0]
    assert sample.rgb[..., 0].min() > 200
    assert sample.rgb[..., 2].max() < 50
    assert sample.label[0, :3].tolist() == [255, 0, 39]


def test_nyuv2_modalities_come_from_their_own_folders(root):
    for folder in ("Depth", "HHA", "Event"):
        file = next((root / folder).glob("0001.*"))
        shown = build_dataset("nyuv2", root, "train", modality=folder.lower())
        assert shown.files(0)[1] == file
        stored = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(shown[0].modal_x, stored[..., ::-1] if stored.ndim == 3 else stored)


def test_sunrgbd_lists_and_16_bit_depth(trees, tmp_path):
    train, test = (build_dataset("sunrgbd", trees / "sunrgbd", split) for split in ("train", "test"))
    assert train.names == ["img-000001", "img-000002"]  # "RGB/img-000001.jpg labels/img-000001.png"
    assert test.names == ["img-000003", "img-000004"]
    deep = cv2.imread(str(train.files(1)[1]), cv2.IMREAD_UNCHANGED)
    assert deep.dtype == np.uint16
    assert train[0].modal_x.dtype == np.uint8
    assert train[1].modal_x.dtype == np.float32
    assert np.allclose(train[1].modal_x, deep / 65535 * 255, atol=1e-4)


def test_mfnet_day_and_night(trees):
    dataset = build_dataset("mfnet", trees / "mfnet", "train")
    assert dataset.names == ["00001N", "00002D"]
    assert [dataset.condition(i) for i in range(2)] == ["night", "day"]
    dataset.names[0] = "00001_flip"
    assert dataset.condition(0) is None


def test_pst900_splits_are_folders(trees):
    dataset = build_dataset("pst900", trees / "pst900", "test")
    assert dataset.names == ["3_bag_rgb", "4_bag_rgb"]
    assert dataset.files(0)[1] == trees / "pst900/test/thermal/3_bag_rgb.png"
    assert dataset.condition(0) is None


def test_mcubes_crop_scaling_and_polarisation(trees):
    datasets = {
        m: build_dataset("mcubes", trees / "mcubes", "train", modality=m) for m in ("nir", "dolp", "aolp")
    }
    for index, dtype in ((0, np.uint16), (1, np.uint8)):
        rgb_file, nir_file, label_file = datasets["nir"].files(index)
        rgb = cv2.imread(str(rgb_file), cv2.IMREAD_UNCHANGED)[..., ::-1]
        nir = cv2.imread(str(nir_file), cv2.IMREAD_UNCHANGED)
        assert rgb.dtype == nir.dtype == dtype
        sample = datasets["nir"][index]
        top = np.iinfo(dtype).max
        assert np.array_equal(sample.rgb, np.round(rgb[:, 192:] * (255 / top)).astype(np.uint8))
        assert sample.modal_x.shape == (8, 12, 3)
        assert np.allclose(sample.modal_x, nir[:, 192:, None] / top * 255, atol=1e-4)
        assert np.array_equal(sample.label, cv2.imread(str(label_file), -1)[:, 192:])
    _, dolp_file, _ = datasets["dolp"].files(0)
    assert np.allclose(datasets["dolp"][0].modal_x, np.load(dolp_file)[:, 192:, None] * 255)
    _, sin_file, cos_file, _ = datasets["aolp"].files(0)
    sine, cosine = (np.load(f)[:, 192:] * 255 for f in (sin_file, cos_file))
    aolp = datasets["aolp"][0].modal_x
    assert aolp.min() < -100
    assert np.allclose(aolp, np.stack([sine, cosine, sine], axis=-1), atol=1e-4)


def test_mcubes_nir_has_one_divisor_for_the_whole_set(tmp_path):
    root = make_tree("mcubes", tmp_path)
    dataset = build_dataset("mcubes", root, "train", modality="nir")
    size = cv2.imread(str(dataset.files(0)[1]), cv2.IMREAD_UNCHANGED).shape
    for index, highest in ((0, 2000), (1, 60_000)):  # 12 bits would hold the first image
        image = np.full(size, 2000, np.uint16)
        image[0] = highest
        cv2.imwrite(str(dataset.files(index)[1]), image)
    for index in (0, 1):
        assert dataset[index].modal_x[-1] == pytest.approx(2000 / 65535 * 255)
    inputs = InputConfig(**dataset.input_config)  # the page encodes as the training does
    page = encode_x(np.full((40, 48), 2000, np.uint16), inputs)
    assert page.image == pytest.approx(2000 / 65535)


def test_deliver_partners_events_and_conditions(trees):
    dataset = build_dataset("deliver", trees / "deliver", "val")
    assert dataset.names == [
        "rain/val/MAP_1_point3/000003_rgb_front",
        "sun/val/MAP_1_point4_motionblur/000004_rgb_front",
    ]
    partners = {
        "event": "event/rain/val/MAP_1_point3/000003_event_front.png",
        "depth": "depth/rain/val/MAP_1_point3/000003_depth_front.png",
        "hha": "hha/rain/val/MAP_1_point3/000003_depth_front.png",
        "lidar": "lidar/rain/val/MAP_1_point3/000003_lidar_front.png",
    }
    for modality, file in partners.items():
        shown = build_dataset("deliver", trees / "deliver", "val", modality=modality)
        assert shown.files(0)[1] == trees / "deliver" / file
    small = cv2.imread(str(dataset.files(0)[1]))[..., ::-1]
    assert small.shape == (4, 6, 3)
    assert np.array_equal(dataset[0].modal_x, small.repeat(2, axis=0).repeat(2, axis=1))
    assert [dataset.condition(i) for i in range(2)] == ["rain", "sun/motionblur"]
    assert dataset.conditions(1) == {"weather": "sun", "case": "motionblur"}


def test_deliver_other_sizes_than_the_events_are_refused(tmp_path):
    dataset = build_dataset("deliver", make_tree("deliver", tmp_path), "train", modality="lidar")
    write(dataset.files(0)[1], np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r"lidar_front.png: size 6 x 4 differs from the RGB image's 12 x 8"):
        dataset[0]


@pytest.mark.parametrize(
    ("text", "case"),
    [
        ("MAP_1_point102", None),
        ("MAP_1_point102_motionblur", "motionblur"),
        ("MAP_1_Over-Exposure", "overexposure"),
        ("under_exposure_MAP_2", "underexposure"),
        ("MAP1LidarJitter", "lidarjitter"),
        ("000001_rgb_front_eventlowres", "eventlowres"),
        ("MAP_1_MB", "motionblur"),
        ("MAP_1_OE", "overexposure"),
        ("ue-MAP", "underexposure"),
        ("MAP.LJ.1", "lidarjitter"),
        ("MAP EL", "eventlowres"),
        ("model_thumb", None),  # "el" and "mb" within words
    ],
)
def test_deliver_cases(text, case):
    assert corruption_case(text) == case


def test_cache_reads_each_file_once(root):
    cached, plain = (build_dataset("nyuv2", root, "test", cache=cache) for cache in (True, False))
    first = cached[0]
    for file in cached.files(0):
        file.unlink()
    assert (cached[0].rgb == first.rgb).all()
    with pytest.raises(ValueError, match="is missing"):
        plain[0]


def spoil_nyuv2(file: str, image: np.ndarray):
    return lambda root: write(root / file, image)


@pytest.mark.parametrize(
    ("spoil", "file", "what"),
    [
        (lambda r: (r / "train.txt").unlink(), "train.txt", "the list of the split 'train' is missing"),
        (lambda r: (r / "train.txt").write_text("\n"), "train.txt", "the list is empty"),
        (lambda r: (r / "Depth/0002.png").unlink(), "0002.png", "sample '0002' needs this file"),
        (lambda r: (r / "Label/0001.png").unlink(), "0001.png", "sample '0001' needs this file"),
        (lambda r: (r / "RGB/0001.jpg").write_bytes(b"no image"), "0001.jpg", "cannot be read"),
        (lambda r: (r / "Label/0001.png").write_bytes(b"no image"), "0001.png", "cannot be read"),
        (spoil_nyuv2("Label/0001.png", np.zeros((8, 12, 3), np.uint8)), "0001.png", "one 8-bit channel"),
        (spoil_nyuv2("Label/0001.png", np.zeros((8, 12), np.uint16)), "0001.png", "one 8-bit channel"),
        (spoil_nyuv2("Label/0001.png", np.zeros((8, 13), np.uint8)), "0001.png", "13 x 8 differs"),
        (spoil_nyuv2("Depth/0001.png", np.zeros((8, 13), np.uint8)), "0001.png", "13 x 8 differs"),
        (spoil_nyuv2("Depth/0001.png", np.zeros((8, 12), np.uint16)), "0001.png", "8-bit values, found"),
        (spoil_nyuv2("Depth/0001.png", np.full((8, 12, 3), (9, 8, 7), np.uint8)), "0001.png",
         "expected one channel of depth, found a colour image"),
    ],
)  # fmt: skip
def test_messages_name_the_file_and_the_layout(root, spoil, file, what):
    spoil(root)
    with pytest.raises(ValueError) as caught:
        build_dataset("nyuv2", root, "train")[0]
    message = str(caught.value)
    assert message.split(": ")[0].endswith(file)
    assert what in message
    assert "Label/NAME.png" in message


def test_many_missing_files_are_counted(root):
    for file in (root / "RGB").glob("*.jpg"):
        file.unlink()
    with pytest.raises(ValueError, match=r"0001.jpg.*it is missing \(and 1 more files\)"):
        build_dataset("nyuv2", root, "train")
    later = build_dataset("nyuv2", root, "train", verify=False)
    assert [name for name, _ in later.missing_files()] == ["0001", "0002"]
    with pytest.raises(ValueError, match=r"0002.jpg: the file is missing"):
        later[1]


def test_one_error_for_each_wrong_file(root):
    write(root / "Depth/0001.png", np.zeros((8, 12), np.uint16))
    write(root / "Label/0001.png", np.full((8, 12), 77, np.uint8))
    sample, problems = build_dataset("nyuv2", root, "train").examine(0)
    assert sample is None
    assert [problem.path.parent.name for problem in problems] == ["Depth", "Label"]


@pytest.mark.parametrize(
    ("name", "modality", "file", "image", "what"),
    [
        ("nyuv2", "hha", "HHA/0001.jpg", np.zeros((8, 12), np.uint8), "expected 3 channels of hha, found 1"),
        ("nyuv2", "event", "Event/0001.png", np.zeros((8, 12), np.uint8), "expected 3 channels of event"),
        ("mfnet", "thermal", "rgb/00001N.png", np.zeros((8, 12, 3), np.uint16), "expected 8 bits a channel"),
        ("mfnet", "thermal", "ther/00001N.png", np.zeros((8, 12), np.uint16), "8-bit values, found uint16"),
        ("mcubes", "aolp", "polL_aolp_sin/outscene0001.npy", np.full((8, 204), 1.5), "expected -1..1"),
        ("mcubes", "dolp", "polL_dolp/outscene0001.npy", np.full((8, 204), np.nan), "not negative"),
        ("mcubes", "dolp", "polL_dolp/outscene0001.npy", np.zeros((8, 204, 3)), "a float array (H, W)"),
        ("mcubes", "aolp", "polL_aolp_cos/outscene0001.npy", np.zeros((8, 205)), "shape (8, 13) differs"),
        ("mcubes", "nir", "NIR_warped/outscene0001.png", np.zeros((8, 192), np.uint8), "192 columns"),
        ("mcubes", "nir", "GT/outscene0001.png", np.zeros((8, 100), np.uint8), "100 columns"),
    ],
)
def test_messages_of_the_other_datasets(tmp_path, name, modality, file, image, what):
    root = make_tree(name, tmp_path)
    write(root / file, image)
    with pytest.raises(LayoutError) as caught:
        build_dataset(name, root, "train", modality=modality)[0]
    assert caught.value.path == root / file
    assert what in str(caught.value)


def test_missing_folders(tmp_path):
    pst900 = make_tree("pst900", tmp_path / "pst900")
    (pst900 / "train").rename(pst900 / "training")
    with pytest.raises(ValueError, match=r"rgb: the folder of the split 'train' is missing. Expected layout"):
        build_dataset("pst900", pst900, "train")
    for file in (pst900 / "test/rgb").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"the folder of the split 'test' has no \*.png"):
        build_dataset("pst900", pst900, "test")
    deliver = make_tree("deliver", tmp_path / "deliver")
    (deliver / "img").rename(deliver / "images")
    with pytest.raises(ValueError, match="no weather folder has the split 'val'"):
        build_dataset("deliver", deliver, "val")
    (deliver / "images").rename(deliver / "img")
    write(deliver / "img/sun/val/MAP_1/000001_front.png", picture(np.random.default_rng(0), (8, 12)))
    with pytest.raises(ValueError, match=r"000001_front.png: expected '_rgb' in the file's name"):
        build_dataset("deliver", deliver, "val")
    with pytest.raises(ValueError, match="nowhere: the dataset's folder is missing"):
        build_dataset("mcubes", tmp_path / "nowhere", "train")


def test_unknown_names(root):
    with pytest.raises(ValueError, match=r"Dataset 'nyu2' is not known; .*Did you mean 'nyuv2'"):
        build_dataset("nyu2", root, "train")
    with pytest.raises(
        ValueError, match=r"nyuv2: split 'tests' is not known; .*train, test. Did you mean 'test'"
    ):
        build_dataset("nyuv2", root, "tests")
    with pytest.raises(ValueError, match=r"nyuv2: modality 'dept' .*depth, hha, event. Did you mean 'depth'"):
        build_dataset("nyuv2", root, "train", modality="dept")
    with pytest.raises(ValueError, match=r"nyuv2: give the dataset's folder .*Label/NAME.png"):
        build_dataset("nyuv2", None, "train")


def test_hold_out_is_disjoint_and_reproducible():
    for count, fraction, size in ((795, 0.1, 80), (100, 0.1, 10), (12, 0.34, 4), (5, 0.1, 1), (9, 0.99, 9)):
        kept, held = hold_out(count, fraction)
        assert len(held) == size
        assert sorted([*kept, *held]) == list(range(count))
        assert (kept, held) == hold_out(count, fraction)
    assert hold_out(5, 0.0) == ([0, 1, 2, 3, 4], [])
    with pytest.raises(ValueError, match="val_fraction"):
        hold_out(5, 1.0)


def test_an_evaluation_scores_the_frames_that_a_run_holds_out():
    _, held = hold_out(795, 0.1)
    assert frames_to_score(795, 1, None, held_out=0.1) == held
    assert frames_to_score(795, 20, None, held_out=0.1) == [held[0], held[20], held[40], held[60]]
    assert list(frames_to_score(7, 2, 3)) == [0, 2, 4]


def test_hold_out_takes_blocks_of_neighbours_from_the_whole_list():
    _, held = hold_out(795, 0.1)
    starts = [index for index in held if index - 1 not in held]
    assert len(starts) == HELD_BLOCKS
    assert [(first * HELD_BLOCKS) // 795 for first in starts] == list(range(HELD_BLOCKS))
    assert all(set(range(first, first + 10)) <= set(held) for first in starts)


def test_real_frames(shared):
    real = shared / "data" / "NYUDepthv2"
    if not real.is_dir():
        pytest.skip("the real frames are not here")
    train, test = (build_dataset("nyuv2", real, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (795, 327)
    sample = test[0]
    assert sample.rgb.shape == (480, 640, 3)
    assert sample.modal_x.shape == sample.label.shape == (480, 640)
    assert set(np.unique(sample.label)) <= {*range(40), 255}
    assert not set(train.names) & set(test.names)
