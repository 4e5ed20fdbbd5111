"""CamVid with simulated thermal images and nights, and folders of real pairs with boxes."""

import numpy as np
import pytest
from helpers.trees import make_pairs, make_tree, write

from ktb.config import InputConfig
from ktb.labels import DATASETS
from training.data.augment import AugmentConfig
from training.data.datasets import build_dataset
from training.data.datasets.camvid import CamVid
from training.data.loader import BatchLoader
from training.data.pairs import CAR, PERSON, PairFolder, block_split, crop_pair, displaced
from training.thermal.night import make_night
from training.thermal.simulator import PERCENTILES, ThermalOptions, simulate_thermal

CLASSES = DATASETS["camvid"].classes
SKY, ROAD, PEDESTRIAN = (CLASSES.index(name) for name in ("sky", "road", "pedestrian"))
INPUTS = InputConfig(**CamVid.inputs_of("thermal"))
PLAIN = ThermalOptions(
    sunny=0, drift=(0, 0), texture=(0, 0), mottle=(0, 0), hot_spots=0, shift_px=0, turn_degrees=0, zoom=0
)


@pytest.fixture
def street():
    """Sky over a road with a pedestrian in it, and a grey RGB image: (120, 160)."""
    label = np.full((120, 160), ROAD, np.uint8)
    label[:50] = SKY
    label[60:100, 70:85] = PEDESTRIAN
    return np.full((120, 160, 3), 128, np.uint8), label


def test_a_simulated_image_has_the_size_and_range_of_a_file(street):
    image = simulate_thermal(*street, np.random.default_rng(0))
    assert (image.shape, image.dtype) == ((120, 160), np.uint8)
    assert (image.min(), image.max()) == (0, 255)  # stretched


def test_equal_generators_simulate_equal_images_and_others_do_not(street):
    first, again, other = (simulate_thermal(*street, np.random.default_rng(s)) for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_in_the_cool_people_are_warmer_than_the_road_and_the_sky_is_coldest(street):
    _, label = street
    for seed in range(8):
        image = simulate_thermal(*street, np.random.default_rng(seed), PLAIN).astype(float)
        sky, road, person = (np.median(image[label == c]) for c in (SKY, ROAD, PEDESTRIAN))
        assert person > road > sky


def test_in_the_sun_the_road_may_be_warmer_than_people(street):
    """Heat alone must not tell people: the order changes between images."""
    _, label = street
    warmer = []
    for seed in range(30):
        image = simulate_thermal(*street, np.random.default_rng(seed), ThermalOptions(sunny=1)).astype(float)
        warmer.append(np.median(image[label == PEDESTRIAN]) > np.median(image[label == ROAD]))
    assert 0.1 < np.mean(warmer) < 0.9


def test_ignored_pixels_and_tiny_images_are_simulated_too():
    for size in ((8, 12), (1, 1)):
        label = np.full(size, 255, np.uint8)
        assert simulate_thermal(np.zeros((*size, 3), np.uint8), label, np.random.default_rng(0)).shape == size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rgb, label: (rgb[:, :-1], label), "one size"),
        (lambda rgb, label: (rgb, label + 11), "outside"),
    ],
)
def test_wrong_labels_are_refused(street, change, message):
    rgb, label = street
    with pytest.raises(ValueError, match=message):
        simulate_thermal(*change(rgb, label), np.random.default_rng(0))


def test_a_night_is_darker_and_its_sky_darkest(street):
    rgb, label = street
    nights = [make_night(rgb, label, np.random.default_rng(seed)) for seed in range(12)]
    assert all((n.shape, n.dtype) == (rgb.shape, np.uint8) for n in nights)
    assert np.mean([n.mean() for n in nights]) < 0.5 * rgb.mean()
    medians = [(np.median(n[label == SKY]), np.median(n[label == ROAD])) for n in nights]
    assert np.mean([sky for sky, _ in medians]) < np.mean([road for _, road in medians])


def test_camvid_reads_one_x_and_draws_many(tmp_path):
    data = build_dataset("camvid", make_tree("camvid", tmp_path, size=(60, 80)), "train")
    stored = data[0]
    assert np.array_equal(stored.modal_x, data[0].modal_x)
    drawn = [data.drawn(0, np.random.default_rng(seed)) for seed in range(12)]
    assert all(np.array_equal(sample.label, stored.label) for sample in drawn)
    assert not np.array_equal(drawn[0].modal_x, drawn[1].modal_x)
    as_stored = [np.array_equal(sample.rgb, stored.rgb) for sample in drawn]
    assert 0 < sum(as_stored) < 12  # days and nights
    same = data.drawn(0, np.random.default_rng(5))
    assert np.array_equal(same.modal_x, drawn[5].modal_x)
    assert np.array_equal(same.rgb, drawn[5].rgb)


def test_the_loader_draws_anew_in_every_epoch(tmp_path):
    data = build_dataset("camvid", make_tree("camvid", tmp_path, size=(60, 80)), "train")
    plain = AugmentConfig(crop=(60, 80), scale=(1, 1), flip=0, jitter=0, blur=0)
    loader = BatchLoader(data, [0], 1, plain, seed=0, workers=0)
    first, second, again = (next(loader.epoch(epoch))[0].modal_x for epoch in (0, 1, 0))
    assert (first == again).all()
    assert (first != second).any()


def test_camvid_names_a_file_of_another_size(tmp_path):
    data = build_dataset("camvid", make_tree("camvid", tmp_path), "val")
    write(data.files(0)[1], np.zeros((4, 4), np.uint8))
    with pytest.raises(
        ValueError, match=r"Label.0001TP_000003\.png: the sizes of label and RGB image differ"
    ):
        data[0]


def test_a_pair_has_its_boxes_in_pixels_and_its_thermal_image_stretched(tmp_path):
    folder = PairFolder(make_pairs(tmp_path, ["00001D"]), INPUTS)
    pair = folder[0]
    assert pair.rgb.shape == (48, 64, 3)
    assert (pair.modal_x.shape, pair.modal_x.dtype) == ((48, 64), np.float32)
    assert (pair.modal_x.min(), pair.modal_x.max()) == (0, 255)
    assert INPUTS.percentiles == PERCENTILES
    assert pair.boxes["thermal"].of(PERSON).tolist() == [[8, 12, 24, 36]]
    assert pair.boxes["rgb"].of(CAR).tolist() == [[40, 18, 56, 30]]
    assert len(pair.boxes["fused"].of(PERSON, CAR)) == 2


def test_folders_without_boxes_have_none_and_damage_is_named(tmp_path):
    assert PairFolder(make_pairs(tmp_path / "a", ["x"], boxes=False), INPUTS)[0].boxes is None
    root = make_pairs(tmp_path / "b", ["00001D"])
    (root / "Boxes/rgb/00001D.txt").write_text("0 half 0 1 1\n")
    with pytest.raises(ValueError, match=r"00001D\.txt is no list of boxes"):
        PairFolder(root, INPUTS)[0]
    (root / "Boxes/rgb/00001D.txt").unlink()
    with pytest.raises(ValueError, match=r"00001D\.txt is missing\. Expected layout"):
        PairFolder(root, INPUTS)[0]
    with pytest.raises(ValueError, match="choose train, val or all"):
        PairFolder(root, INPUTS, "test")
    with pytest.raises(ValueError, match=r"pairs\.txt is missing"):
        PairFolder(tmp_path, INPUTS)


def test_validation_blocks_are_contiguous_and_their_neighbours_are_unused():
    names = [f"{n:05d}{'N' if 40 <= n < 140 else 'D'}" for n in range(240)]
    parts = block_split(names)
    for letter in "DN":
        row = "".join(parts[n][0] for n in names if n.endswith(letter))
        length = len(row) // 10
        assert row.count("v") == 2 * length
        assert row.count("b") == 4
        assert "tv" not in row
        assert "vt" not in row
        assert [len(block) for block in row.replace("t", " ").replace("b", " ").split()] == [length] * 2


def test_a_crop_moves_boxes_with_the_images(tmp_path):
    pair = PairFolder(make_pairs(tmp_path, ["00001D"]), INPUTS)[0]
    marked = np.zeros((48, 64), np.float32)
    marked[12:36, 8:24] = 255  # the person's box
    pair = pair._replace(modal_x=marked)
    flips = set()
    for seed in range(20):
        crop = crop_pair(pair, (48, 64), (1.0, 2.0), np.random.default_rng(seed))
        assert (crop.rgb.shape, crop.modal_x.shape) == ((48, 64, 3), (48, 64))
        inside = np.zeros((48, 64), bool)
        for left, top, right, bottom in np.round(crop.boxes["thermal"].of(PERSON)).astype(int):
            inside[top:bottom, left:right] = True
            flips.add(bool(left > 32))
        if inside.any():
            assert (inside != (crop.modal_x > 127)).mean() < 0.06
    assert len(flips) == 2


def test_a_displaced_x_is_moved_by_whole_pixels():
    image = np.arange(100.0, dtype=np.float32).reshape(10, 10)
    for seed in range(5):
        moved = displaced(image, 2, np.random.default_rng(seed))
        shift = moved[5, 5] - image[5, 5]
        assert shift in {10 * down + right for down in range(-2, 3) for right in range(-2, 3)}
        assert np.allclose(moved[3:7, 3:7] - image[3:7, 3:7], shift)
