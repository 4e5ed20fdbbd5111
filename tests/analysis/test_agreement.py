"""What training feeds the network is what the page and the command line make of the same files."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from helpers.trees import TREES, make_tree, write

from ktb.config import InputConfig
from ktb.inputs import NEAR_DARK, XOptions, encode_x, read_x
from training.data.datasets import REGISTRY, build_dataset

SIZE = (64, 96)
ALL = [
    (name, modality)
    for name, kind in REGISTRY.items()
    for modality in kind.modalities
    if name != "camvid"  # it has no X files: its X is simulated
]


def as_network_input(modal_x: np.ndarray) -> np.ndarray:
    """(H, W, 3) of what a dataset gives."""
    image = modal_x.astype(np.float32) / 255
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image


def as_on_the_page(dataset, index: int, options: XOptions = XOptions()) -> np.ndarray:  # noqa: B008
    """(H, W, 3) of the same files by the readers and encoders; nothing said by default."""
    rgb, *x, _ = dataset.files(index)
    height, width = cv2.imread(str(rgb)).shape[:2]
    image = encode_x(read_x(x), InputConfig(**dataset.input_config), (height, width), options).image
    return image[:, 192:] if dataset.name == "mcubes" else image


def require_same(dataset, options: XOptions = XOptions(), spread: float = 0.1) -> None:  # noqa: B008
    for index in range(len(dataset)):
        trained = as_network_input(dataset[index].modal_x)
        shown = as_on_the_page(dataset, index, options)
        np.testing.assert_allclose(trained, shown, rtol=0, atol=1e-6)
        assert np.ptp(trained) > spread


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("trees")
    for name in TREES:
        make_tree(name, root / name, size=SIZE)
    for file in (root / "nyuv2/Depth").iterdir():  # a room: the lower, the nearer, and near is dark
        levels = np.linspace(160, 40, SIZE[0]).astype(np.uint8)
        write(file, np.repeat(levels[:, None], SIZE[1], axis=1))
    return root


@pytest.mark.parametrize(("name", "modality"), ALL)
def test_benchmarks(trees, name, modality):
    for split in REGISTRY[name].splits:
        require_same(build_dataset(name, trees / name, split, modality=modality))


def test_events_larger_and_smaller_than_the_rgb_image(trees, tmp_path):
    root = make_tree("deliver", tmp_path, size=SIZE)
    dataset = build_dataset("deliver", root, "train", modality="event")
    for index, size in enumerate([(96, 144), (40, 60)]):
        noise = np.random.default_rng(index).integers(0, 256, (*size, 3), dtype=np.uint8)
        write(dataset.files(index)[1], noise)
    require_same(dataset)


def test_dark_thermal_is_not_stretched(tmp_path):
    dataset = build_dataset("mfnet", make_tree("mfnet", tmp_path, size=SIZE), "train")
    levels = np.random.default_rng(0).integers(60, 100, SIZE, dtype=np.uint8)
    for index in range(len(dataset)):
        write(dataset.files(index)[1], levels)
    require_same(dataset)
    assert dataset[0].modal_x.max() < 100


def test_twelve_bits_in_sixteen(tmp_path):
    dataset = build_dataset("mcubes", make_tree("mcubes", tmp_path, size=SIZE), "train", modality="nir")
    levels = np.random.default_rng(0).integers(0, 4096, (SIZE[0], SIZE[1] + 192)).astype(np.uint16)
    for index in range(len(dataset)):
        write(dataset.files(index)[1], levels)
    require_same(dataset, spread=0.05)  # dark, as 65535 is white in the whole set
    assert dataset[0].modal_x.max() < 16


def test_real_nyu_depth(shared):
    """With the unit said: a guess takes some of these 8-bit frames, without a near floor, for near bright."""
    dataset = build_dataset("nyuv2", shared / "data/NYUDepthv2", "test", modality="depth", verify=False)
    found = [index for index in range(len(dataset)) if all(file.is_file() for file in dataset.files(index))]
    assert found
    for index in found[:6]:
        trained = as_network_input(dataset[index].modal_x)
        shown = as_on_the_page(dataset, index, XOptions(unit=NEAR_DARK))
        np.testing.assert_allclose(trained, shown, rtol=0, atol=1e-6)


def own(root: Path, xs: list[np.ndarray], suffix: str, **keys):
    """A dataset of one class with these X arrays."""
    rng = np.random.default_rng(0)
    for number, x in enumerate(xs):
        write(root / f"rgb/{number}.png", rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        write(root / f"x/{number}{suffix}", x)
        write(root / f"labels/{number}.png", np.zeros(SIZE, np.uint8))
    file = root / "own.yaml"
    places = {"rgb": "rgb", "x": "x", "labels": "labels", "classes": ["soil"]}
    file.write_text(yaml.safe_dump(places | keys))
    return build_dataset(str(file), None, "train")


def noise(low: float, high: float, dtype, count: int = 2, shape=SIZE) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.uniform(low, high, shape).astype(dtype) for _ in range(count)]


OWN = {
    "depth": (noise(900, 5000, np.uint16), ".png", {"modality": "depth", "max_metres": 4}),
    "depth picture": (noise(0, 65535, np.uint16), ".png", {"modality": "depth", "encoding": "image"}),
    "hha": (noise(0, 255, np.uint8, shape=(*SIZE, 3)), ".png", {"modality": "hha"}),
    "thermal 8-bit": (noise(90, 140, np.uint8), ".png", {"modality": "thermal"}),
    "thermal 16-bit": (noise(7000, 9000, np.uint16), ".png", {"modality": "thermal"}),
    "thermal percentiles": (
        noise(7000, 9000, np.uint16),
        ".png",
        {"modality": "thermal", "percentiles": [5, 90]},
    ),
    "thermal kelvin": (noise(28000, 31000, np.uint16), ".png", {"modality": "thermal", "range": [0, 50]}),
    "thermal celsius": (noise(5, 40, np.float32), ".npy", {"modality": "thermal", "range": [0, 50]}),
    "thermal black hot": (noise(5, 40, np.float32), ".npy", {"modality": "thermal", "hot": "black"}),
    "thermal 8-bit black hot": (noise(0, 255, np.uint8), ".png", {"modality": "thermal", "hot": "black"}),
    "nir 16-bit": (noise(0, 65535, np.uint16), ".png", {"modality": "nir"}),
    "nir 12-bit": (noise(0, 4095, np.uint16), ".png", {"modality": "nir"}),
    "nir range": (noise(0, 4095, np.uint16), ".png", {"modality": "nir", "range": [100, 4095]}),
    "dolp": (noise(0, 1, np.float32), ".npy", {"modality": "dolp"}),
    "dolp percent": (noise(0, 60, np.float32), ".npy", {"modality": "dolp"}),
    "aolp": (noise(-1.57, 1.57, np.float32), ".npy", {"modality": "aolp"}),
    "four angles": (noise(1, 999, np.uint16, shape=(*SIZE, 4)), ".npy", {"modality": "dolp"}),
    "event frame": (noise(0, 255, np.uint8, shape=(*SIZE, 3)), ".png", {"modality": "event"}),
    "other": (noise(0, 255, np.uint8), ".png", {"modality": "other"}),
    "lidar": (noise(0, 255, np.uint8, shape=(32, 48, 3)), ".png", {"modality": "lidar"}),
}


@pytest.mark.parametrize("kind", OWN)
def test_own_data(tmp_path, kind):
    """With nothing said on the page: what matters is in the model's configuration, or found out again."""
    require_same(own(tmp_path, *OWN[kind][:2], **OWN[kind][2]))


def test_own_events(tmp_path):
    """A stream, whose column order, unit of time and sensor the file names: the page needs the same said."""
    rng = np.random.default_rng(2)
    count = 4000
    x, y = rng.integers(0, SIZE[1], count), rng.integers(0, SIZE[0], count)
    table = np.stack([np.sort(rng.uniform(0, 80, count)), x, y, rng.integers(0, 2, count)], axis=-1)
    keys = {"modality": "event", "columns": "txyp", "time_unit": "ms", "sensor": list(SIZE)}
    dataset = own(tmp_path, [table], ".npy", event_window_ms=20, encoding="event_voxel", **keys)
    said = XOptions(modality="event", columns="txyp", time_unit="ms", sensor_hw=SIZE)
    x_file = dataset.files(0)[1]
    inputs = InputConfig(**dataset.input_config)
    assert (inputs.event_window_ms, inputs.encoding) == (20, "event_voxel")
    page = encode_x(read_x(x_file, options=said), inputs, SIZE, said).image
    np.testing.assert_allclose(as_network_input(dataset[0].modal_x), page, rtol=0, atol=1e-6)
    assert np.ptp(page) > 0.1


def test_own_hha_from_depth(tmp_path):
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    depth = (3000 - 20 * y + 3 * x).astype(np.uint16)
    dataset = own(tmp_path, [depth, depth + 50], ".png", modality="hha", field_of_view=60)
    require_same(dataset, XOptions(unit="mm", field_of_view=60))
    wide = own(tmp_path, [depth, depth + 50], ".png", modality="hha", intrinsics=[50, 50, 48, 32])
    assert not np.array_equal(wide[0].modal_x, dataset[0].modal_x)
