"""Evaluation on a made data set in NYUv2's layout."""

import dataclasses
import json
import math
import re

import cv2
import numpy as np
import pytest
import torch

from ktb.checkpoints.load import save_model
from ktb.inference.predictor import Predictor
from ktb.inputs import NEAR_DARK, XOptions
from ktb.labels import DATASETS
from ktb.modeling.build import build_model, lite_config
from ktb.modeling.model import KTBOutput
from training import evaluate as evaluation
from training.data.datasets import build_dataset
from training.data.datasets.sample import Sample
from training.evaluation.boundary import BoundaryCounts
from training.evaluation.evaluator import describe, evaluate
from training.evaluation.inference import MSF_SCALES, Views, average_windows, network_input
from training.evaluation.metrics import ConfusionMatrix
from training.robustness import suite

HEIGHT, WIDTH = 60, 90


@pytest.fixture
def root(tmp_path):
    """Two frames: left half class 0 (wall), right half class 4 (chair), a row of void; X tells the class."""
    for folder in ("RGB", "Depth", "Label"):
        (tmp_path / folder).mkdir()
    for name in ("0001", "0002"):
        label = np.ones((HEIGHT, WIDTH), np.uint8)
        label[:, WIDTH // 2 :] = 5
        label[0] = 0
        depth = np.where(np.arange(WIDTH) < WIDTH // 2, 0, 200).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "RGB" / f"{name}.jpg"), np.full((HEIGHT, WIDTH, 3), 128, np.uint8))
        cv2.imwrite(str(tmp_path / "Depth" / f"{name}.png"), np.tile(depth, (HEIGHT, 1)))
        cv2.imwrite(str(tmp_path / "Label" / f"{name}.png"), label)
    (tmp_path / "test.txt").write_text("0001\n0002\n")
    return tmp_path


class Reader(torch.nn.Module):
    """Reads the class from X: fused and x are right, rgb always says class 0; keeps the sizes it saw."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.config = lite_config()
        self.sizes = []

    def normalize_rgb(self, rgb):
        return rgb.float() / 255

    def normalize_x(self, modal_x):
        return modal_x

    def forward(self, rgb, modal_x):
        self.sizes.append(tuple(rgb.shape[-2:]))
        assert modal_x.min() >= 0
        assert modal_x.max() <= 1
        assert rgb.max() <= 1
        right = torch.zeros(len(rgb), 40, *rgb.shape[-2:])
        right[:, 0], right[:, 4] = 0.4, modal_x[:, 0]
        wall = torch.zeros_like(right)
        wall[:, 0] = 1
        return KTBOutput(fused=right, rgb=wall, x=right)


@pytest.mark.parametrize("views", [{}, {"flip": True, "scales": (0.5, 1.0)}])
def test_scores_at_the_labels_resolution(root, views):
    model = Reader()
    result = evaluate(model, build_dataset("nyuv2", root, "test"), size=60, **views)
    assert model.sizes[0] == ((32, 64) if views else (64, 96))
    assert set(result) == {"fused", "rgb", "x", "images", "protocol"}
    assert result["images"] == 2
    assert result["fused"]["miou"] > 97  # not all: the edge between the halves is blurred
    assert result["x"] == result["fused"]
    rgb = result["rgb"]
    assert rgb["iou"]["wall"] == pytest.approx(50)
    assert rgb["iou"]["chair"] == 0
    assert rgb["miou"] == pytest.approx(25)
    assert rgb["pixel_accuracy"] == pytest.approx(50)
    assert rgb["class_accuracy"] == pytest.approx(50)
    assert rgb["iou"]["bed"] is None
    assert list(rgb["iou"]) == list(DATASETS["nyuv2"].classes)


def test_reference_protocol_counts_absent_classes(root):
    result = evaluate(Reader(), build_dataset("nyuv2", root, "test"), reference=True)
    assert result["rgb"]["miou"] == pytest.approx(50 / 40)
    assert "resized with the images" in result["protocol"]
    assert result["rgb"]["iou"]["bed"] == 0
    assert result["rgb"]["f1"] == pytest.approx(100 * (2 / 3) / 40)


def test_other_classes_are_refused(root):
    model = Reader()
    model.config = lite_config("mfnet")
    with pytest.raises(ValueError, match="9 classes"):
        evaluate(model, build_dataset("nyuv2", root, "test"))


class Memory:
    """Random 64 x 96 pairs with 40 classes, under the given conditions."""

    name, modality, split = "nyuv2", "depth", "test"
    classes = DATASETS["nyuv2"].classes

    def __init__(self, *conditions, size=(64, 96)):
        self.found = conditions
        rng = np.random.default_rng(0)
        self.samples = [
            Sample(
                f"{i}",
                rng.integers(0, 256, (*size, 3), dtype=np.uint8),
                rng.integers(0, 256, size, dtype=np.uint8),
                np.where(rng.random(size) < 0.1, 255, rng.integers(0, 4, size)).astype(np.uint8),
            )
            for i in range(len(conditions))
        ]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]

    def condition(self, index):
        return self.found[index]


@pytest.fixture(scope="module")
def network(one_thread):
    """The real lite network with random weights, whose fused branch depends on both inputs."""
    torch.manual_seed(0)
    return build_model(lite_config()).eval()


def scored(model, dataset, **options):
    return evaluate(model, dataset, progress=False, **options)


def mirrored(sample):
    return sample._replace(
        **{k: np.ascontiguousarray(getattr(sample, k)[:, ::-1]) for k in sample._fields[1:]}
    )


def test_f1_and_accuracy_stand_beside_iou(root):
    rgb = scored(Reader(), build_dataset("nyuv2", root, "test"))["rgb"]  # always wall, which is half
    assert rgb["f1_per_class"]["wall"] == pytest.approx(100 * 2 / 3)
    assert rgb["f1_per_class"]["chair"] == 0
    assert rgb["f1_per_class"]["bed"] is None
    assert rgb["f1"] == pytest.approx(100 / 3)
    assert rgb["accuracy_per_class"]["wall"] == 100
    assert rgb["accuracy_per_class"]["chair"] == 0
    assert "boundary_f1" not in rgb


def test_boundary_f1_and_confusion_on_request(root):
    dataset = build_dataset("nyuv2", root, "test")
    result = scored(Reader(), dataset, size=60, boundary=3, confusion=True)
    assert result["fused"]["boundary_f1"] == 100  # the blurred edge is less than 3 pixels off
    assert result["rgb"]["boundary_f1"] == 0
    assert result["fused"]["boundary_f1_per_class"]["bed"] is None
    assert result["protocol"].endswith("boundary F1 within 3 pixels")
    counts = np.array(result["confusion"]["rgb"])
    half = 2 * (HEIGHT - 1) * WIDTH // 2
    assert counts[0, 0] == counts[4, 0] == half
    assert counts.sum() == 2 * half
    assert scored(Reader(), dataset, boundary=True)["protocol"].endswith("within 0.75 % of the diagonal")


def test_boundary_is_that_of_the_predictions(network):
    dataset = Memory(None)
    counts = BoundaryCounts(40, 2)
    preds, _ = Views(64).predict(network, dataset[0], (64, 96))
    counts.update(preds[0].numpy(), dataset[0].label.astype(int))
    expected = scored(network, dataset, size=64, boundary=2)["fused"]["boundary_f1"]
    assert expected == counts.mean_f1()


def test_released_multi_scale_sizes(root):
    model = Reader()
    scored(model, build_dataset("nyuv2", root, "test"), indices=[0], size=64, scales=MSF_SCALES, flip=True)
    assert MSF_SCALES == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    sizes = [(32, 64), (64, 96), (64, 96), (96, 128), (96, 160), (128, 192)]  # all up to multiples of 32
    assert model.sizes == [size for size in sizes for _ in (False, True)]


def test_a_mirrored_view_negates_the_angle_of_polarization():
    inputs = lite_config().inputs
    inputs = dataclasses.replace(
        inputs, modality="aolp", encoding="aolp", x_mean=(0.1,) * 3, x_std=(0.4,) * 3
    )
    model = build_model(lite_config(inputs=inputs))
    rgb, angle = torch.rand(1, 3, 4, 6), torch.rand(1, 4, 6) * 3 - 1.5
    x = model.normalize_x(torch.stack([(2 * angle).sin(), (2 * angle).cos(), (2 * angle).sin()], dim=1))
    mirrored_rgb, found = Views(flip=True)._mirrored(model, rgb, x)
    sine, cosine, again = (found * model.x_std + model.x_mean)[0]
    assert torch.equal(mirrored_rgb, rgb.flip(-1))
    assert torch.allclose(torch.atan2(sine, cosine) / 2, -angle[0].flip(-1), atol=1e-5)
    assert torch.allclose(sine, again)
    assert torch.equal(Views(flip=True, mirror_angles=False)._mirrored(model, rgb, x)[1], x.flip(-1))


def test_mirrored_images_get_mirrored_predictions_with_flip(network):
    sample = Memory(None)[0]
    views = Views(64, scales=(0.75, 1.0), flip=True)
    with torch.inference_mode():
        plain, _ = views.predict(network, sample, (64, 96))
        turned, _ = views.predict(network, mirrored(sample), (64, 96))
        alone, _ = Views(64).predict(network, mirrored(sample), (64, 96))
    for one, other in zip(plain, turned, strict=True):
        assert (one == other.flip(-1)).float().mean() > 0.995  # ties of rounding aside
    assert (plain[0] != alone[0].flip(-1)).float().mean() > 0.01  # without flip the network has a side


def test_a_window_that_covers_the_image_is_the_whole_image(network):
    inputs = network_input(network, Memory(None)[0], (64, 96))
    for window in ((64, 96), (512, 512), (96, 96)):
        views = Views(window=window)
        with torch.inference_mode():
            whole = Views()._logits(network, *inputs, None)
            windowed = views._logits(network, *inputs, None)
        assert all(torch.equal(a, b) for a, b in zip(whole, windowed, strict=True))
    dataset = Memory(None)
    assert scored(network, dataset, window=(64, 96))["fused"] == scored(network, dataset)["fused"]


def test_windows_overlap_reach_every_border_and_are_averaged():
    columns = torch.arange(96.0).expand(1, 3, 32, 96)
    seen = []

    def left_edge(rgb, modal_x):
        seen.append((rgb.shape[-2], int(rgb[0, 0, 0, 0]), int(rgb[0, 0, 0, -1])))
        assert torch.equal(rgb, modal_x)
        return [rgb[:, :1, :, :1].expand(1, 1, *rgb.shape[-2:])]

    (mean,) = average_windows(left_edge, columns, columns, (64, 64), 0.5)
    assert seen == [(32, 0, 63), (32, 32, 95)]
    assert mean.shape == (1, 1, 32, 96)
    expected = torch.tensor([0.0, 16.0, 32.0]).repeat_interleave(32)
    assert torch.equal(mean[0, 0], expected.expand(32, 96))


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(32, 32), (64, 96), (96, 160), (416, 608)])
def test_every_pixel_is_seen_and_an_identity_stays_one(shape, overlap):
    image = torch.rand(1, 3, *shape)
    spans = []

    def identity(rgb, modal_x):
        spans.append(rgb.shape[-2:])
        return [rgb, modal_x]

    first, second = average_windows(identity, image, 1 - image, (64, 64), overlap)
    torch.testing.assert_close(first, image)
    torch.testing.assert_close(second, 1 - image)
    assert set(spans) == {(min(64, shape[0]), min(64, shape[1]))}


@pytest.mark.parametrize("missing", ["rgb", "x"])
def test_missing_as_tokens_is_the_networks_own_masking(network, missing):
    sample = Memory(None)[0]
    inputs = network_input(network, sample, (64, 96))
    with torch.inference_mode():
        masked = network(*inputs, **{f"mask_{missing}": torch.ones(1, dtype=torch.bool)})
        preds, _ = Views(missing=missing).predict(network, sample, (64, 96))
        both, _ = Views().predict(network, sample, (64, 96))
    for name, pred in zip(("fused", "rgb", "x"), preds, strict=True):
        assert torch.equal(pred, getattr(masked, name).argmax(1)[0])
    assert not torch.equal(preds[0], both[0])


@pytest.mark.parametrize("missing", ["rgb", "x"])
def test_missing_as_image_is_a_black_picture(network, missing):
    dataset = Memory(None)
    black = Memory(None)
    field = {"rgb": "rgb", "x": "modal_x"}[missing]
    black.samples = [s._replace(**{field: np.zeros_like(getattr(s, field))}) for s in black.samples]
    taken = scored(network, dataset, missing=missing, missing_as="image", confusion=True)
    assert taken["confusion"] == scored(network, black, confusion=True)["confusion"]
    assert taken["confusion"] != scored(network, dataset, missing=missing, confusion=True)["confusion"]
    assert f"{missing} missing, a picture of zeros in its place" in taken["protocol"]


def test_corruption_sees_the_stored_sample_and_repeats_itself(network):
    dataset, seen = Memory(None, None, None), []

    def corrupt(sample, rng):
        seen.append((sample.name, sample.rgb.shape, sample.modal_x.dtype, rng.random()))
        return sample._replace(modal_x=np.zeros_like(sample.modal_x))

    result = scored(network, dataset, size=32, corruption=corrupt, seed=5, confusion=True)
    assert [entry[:3] for entry in seen] == [(str(i), (64, 96, 3), np.uint8) for i in range(3)]
    assert len({entry[3] for entry in seen}) == 3
    assert "corrupted" in result["protocol"]
    zeroed = scored(network, dataset, size=32, missing="x", missing_as="image", confusion=True)
    assert result["confusion"] == zeroed["confusion"]
    first, seen[:] = list(seen), []
    scored(network, dataset, size=32, corruption=corrupt, seed=5, indices=[2])
    assert seen == first[2:]  # it depends on (seed, index), not on what came before
    seen.clear()
    scored(network, dataset, size=32, corruption=corrupt, seed=6, indices=[2])
    assert seen != first[2:]


def test_conditions_are_scored_apart_and_by_part(network):
    dataset = Memory("night/motionblur", "day", None, "night", "day/motionblur", "night/motionblur")
    result = scored(network, dataset, size=32)
    found = result["conditions"]
    images = {"day/motionblur": 1, "night/motionblur": 2, "day": 2, "night": 3, "motionblur": 3}
    assert {name: scores["images"] for name, scores in found.items()} == images
    assert result["images"] == 6
    for name, indices in (("night/motionblur", [0, 5]), ("night", [0, 3, 5]), ("motionblur", [0, 4, 5])):
        alone = scored(network, dataset, size=32, indices=indices)
        for branch in ("fused", "rgb", "x"):
            assert found[name][branch] == alone[branch], name
    assert "conditions" not in scored(network, Memory(None, None), size=32)
    assert list(scored(network, dataset, size=32, indices=[1, 2])["conditions"]) == ["day"]


def test_sums_over_processes_equal_one_process(network):
    dataset = Memory("night", "day", "day/rain", None, "night")
    options = {"size": 32, "attention": True, "boundary": 2.0, "confusion": True}
    whole = scored(network, dataset, **options)
    sent = []

    def first(tensor):
        sent.append(tensor.clone())
        return tensor

    def second(tensor):
        assert tensor.dtype == sent[0].dtype
        return tensor + sent.pop(0)

    part = scored(network, dataset, indices=[4, 1, 3], reduce=first, **options)
    assert part["images"] == 3
    assert {tensor.dtype for tensor in sent} == {torch.int64, torch.float64}
    both = scored(network, dataset, indices=[0, 2], reduce=second, **options)
    for one, other in zip(both.pop("attention"), whole.pop("attention"), strict=True):
        assert one == pytest.approx(other)
    assert both == whole
    assert sent == []


def test_a_process_without_images_still_takes_part(network):
    dataset = Memory("night", "day")
    total = []
    scored(network, dataset, size=32, reduce=lambda t: total.append(t) or t)
    empty = scored(network, dataset, size=32, indices=[], reduce=lambda t: t + total[0])
    assert empty == scored(network, dataset, size=32)


def test_unlabelled_images_give_no_score(network):
    dataset = Memory(None)
    dataset.samples = [s._replace(label=np.full_like(s.label, 255)) for s in dataset.samples]
    result = scored(network, dataset, size=32, boundary=True)
    assert math.isnan(result["fused"]["miou"])
    assert math.isnan(result["fused"]["boundary_f1"])
    assert set(result["fused"]["iou"].values()) == {None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8}, "size is 8; choose a short side of 32 to 16384"),
        ({"size": 0}, "size is 0"),
        ({"size": 16000}, "24000 x 16000 in the network, which is too large; choose a smaller size or scale"),
        ({"scales": ()}, "scales is empty"),
        ({"scales": (1.0, 0.0)}, "scale 0.0 is out of range; choose 0.1 to 8.0"),
        ({"scales": (float("nan"),)}, "scale nan"),
        ({"window": (100, 96)}, "window is 100 96; give .* multiples of 32, such as 96 96"),
        ({"window": (0, 32)}, "such as 32 32"),
        ({"window": (64, 64), "overlap": 1.0}, "overlap is 1.0; give a fraction from 0 to below 1"),
        ({"boundary": -2.0}, "tolerance is -2.0"),
        ({"missing": "both"}, "missing is 'both'; allowed: None, 'rgb', 'x'"),
        ({"missing": "x", "missing_as": "noise"}, "missing_as is 'noise'; allowed: 'tokens', 'image'"),
        ({"indices": []}, "no image is left to score"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        scored(Reader(), Memory(None), **options)


def test_classes_in_another_order_are_refused():
    dataset = Memory(None)
    dataset.classes = (*dataset.classes[:2], "bed", "cabinet", *dataset.classes[4:])
    with pytest.raises(ValueError, match=r"Class 2 of the model is 'cabinet', of nyuv2 'bed': choose"):
        scored(Reader(), dataset)


def test_the_protocol_names_what_was_done():
    plain = describe(384, (1.0,), False, False, False)
    assert plain == (
        "short side 384, sides up to multiples of 32, single scale, float32; "
        "scored at the label's own resolution, absent classes left out of the mean"
    )
    text = describe(None, MSF_SCALES, True, True, True, window=(480, 640), overlap=0.25, missing="x")
    for part in (
        "own size",
        "scales 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, flip",
        "windows of 480 x 640 (height x width) overlapping by 25%",
        "bfloat16",
        "the released scripts fill their F1 and accuracy columns with IoU",
        "x missing, its tokens zeroed",
    ):
        assert part in text
    assert "scales 0.5" in describe(64, (0.5,), False, False, False)


def test_command_with_a_real_network(root, tmp_path):
    torch.manual_seed(0)
    save_model(tmp_path / "m.safetensors", build_model(lite_config()), {})
    command = (
        f"--model {tmp_path}/m.safetensors --dataset nyuv2 --data {root} --out {tmp_path}/out/scores.json"
    )
    evaluation.main([*command.split(), "--size", "64", "--limit", "1", "--attention", "--bf16"])
    text = (tmp_path / "out" / "scores.json").read_text()
    result = json.loads(text)
    assert "NaN" not in text
    assert result["images"] == 1
    assert result["split"] == "test"
    assert result["modality"] == "depth"
    assert "--attention --bf16" in result["command"]
    assert "| fused |" in (tmp_path / "out" / "scores.md").read_text()
    assert "bfloat16" in result["protocol"]
    assert [row["level"] for row in result["attention"]] == [0, 1, 2, 3]
    for row in result["attention"]:
        assert 0 < row["entropy"] <= 1.0001
        assert math.isfinite(row["balance_std"])
        assert row["balance_std"] >= 0


def command(root, tmp_path, *more):
    """Run the command on the made data with a fake network; returns the JSON file's content."""
    text = f"--model m --dataset nyuv2 --data {root} --split test --out {tmp_path}/o.json"
    evaluation.main([*text.split(), "--device", "cpu", *" ".join(more).split()])
    return json.loads((tmp_path / "o.json").read_text())


@pytest.fixture
def fake_model(monkeypatch):
    model = Reader()
    monkeypatch.setattr(evaluation, "load_model", lambda name, device: model)
    return model


def test_msf_is_the_short_form(root, tmp_path, fake_model):
    short = command(root, tmp_path, "--msf --size 64")
    long = command(root, tmp_path, "--size 64 --flip --scales", *map(str, MSF_SCALES))
    del short["command"], long["command"]
    assert short == long
    assert "1.75, flip" in short["protocol"]
    assert len(fake_model.sizes) == 2 * 2 * 12


def test_command_writes_boundary_and_confusion(root, tmp_path, fake_model, caplog):
    caplog.set_level("INFO")
    result = command(root, tmp_path, "--window 32 64 --overlap 0.25 --boundary --confusion")
    assert "windows of 32 x 64" in result["protocol"]
    assert result["rgb"]["boundary_f1"] == 0
    assert "confusion" not in result
    branches = [f"o_confusion_{b}.{s}" for b in ("fused", "rgb", "x") for s in ("csv", "png")]
    assert {p.name for p in tmp_path.glob("o*")} == {"o.json", "o.md", *branches}
    assert "boundary F1" in caplog.text
    assert result["protocol"] in caplog.text


def test_robustness_gets_a_folder_beside_the_file(root, tmp_path, fake_model, monkeypatch):
    calls = []
    monkeypatch.setattr(suite, "run", lambda *a, **k: calls.append((a, k)))
    with pytest.raises(FileNotFoundError):  # it leaves the JSON file to the suite's folder
        command(root, tmp_path, "--limit 1 --size 64 --robustness")
    with pytest.raises(FileNotFoundError):
        command(root, tmp_path, "--robustness missing x-shift")
    (model, dataset, folder), options = calls[0]
    assert model is fake_model
    assert dataset.name == "nyuv2"
    assert folder == tmp_path / "o_robustness"
    assert options == {"indices": range(1), "size": 64, "bf16": False, "conditions": None}
    assert calls[1][1]["conditions"] == ["missing", "x-shift"]


def test_x_is_what_the_model_was_trained_on(root, fake_model, caplog):
    hha = root / "HHA"
    hha.mkdir()
    for name in ("0001", "0002"):
        cv2.imwrite(str(hha / f"{name}.jpg"), np.full((HEIGHT, WIDTH, 3), 9, np.uint8))

    def trained_on(modality):
        inputs = dataclasses.replace(fake_model.config.inputs, modality=modality)
        fake_model.config = dataclasses.replace(fake_model.config, inputs=inputs)
        return evaluation.open_dataset(fake_model, "nyuv2", root, "test")

    assert trained_on("hha").modality == "hha"
    assert trained_on("depth").modality == "depth"
    assert trained_on("other").modality == "depth"
    assert caplog.text == ""
    assert trained_on("thermal").modality == "depth"
    assert "trained on thermal and is given depth" in caplog.text
    assert evaluation.open_dataset(fake_model, "nyuv2", root, "test", "hha").modality == "hha"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--split val", "train, test"),
        ("--modality thermal", "modality 'thermal' is not known; choose from depth"),
        ("--limit 0", "--limit is 0; give at least 1"),
        ("--every 0", "--every is 0; give 1 for all images"),
        ("--held-out 1", "--held-out is 1.0; give the run's val_fraction"),
        ("--msf --flip", "--msf sets scales and flip itself"),
        ("--size 8", "size is 8"),
        ("--scales 0", "scale 0.0 is out of range"),
        ("--window 100 100", "multiples of 32, such as 96 96"),
        ("--robustness --msf --boundary", "--robustness runs single scale .* omit --msf, --boundary"),
        ("--protocol theirs", "invalid choice"),
    ],
)
def test_command_line_messages(root, tmp_path, capsys, fake_model, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        command(root, tmp_path, arguments)
    assert exit_.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "o.json").exists()


def test_evaluation_scores_exactly_what_the_predictor_shows(root):
    rng = np.random.default_rng(0)
    for name in ("0001", "0002"):
        photo = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        cv2.imwrite(str(root / "RGB" / f"{name}.jpg"), photo)
        cv2.imwrite(
            str(root / "Depth" / f"{name}.png"), rng.integers(20, 256, (HEIGHT, WIDTH), dtype=np.uint8)
        )
    torch.manual_seed(0)
    model = build_model(lite_config())
    dataset = build_dataset("nyuv2", root, "test")
    result = evaluate(model, dataset, size=64)
    matrix = ConfusionMatrix(40)
    predictor = Predictor(model, short_side=64)
    for index in range(len(dataset)):
        sample = dataset[index]
        labels = predictor(sample.rgb, sample.modal_x, options=XOptions(unit=NEAR_DARK)).labels["fused"]
        matrix.update(torch.from_numpy(labels), torch.from_numpy(sample.label))
    assert result["fused"]["pixel_accuracy"] == pytest.approx(matrix.scores().pixel_accuracy, abs=1e-9)
    assert result["fused"]["miou"] == pytest.approx(matrix.scores().miou, abs=1e-9)


def test_a_mean_has_no_attention_to_report(root):
    model = Reader()
    fusion = dataclasses.replace(model.config.fusion, kind="mean")
    model.config = dataclasses.replace(model.config, fusion=fusion)
    with pytest.raises(ValueError, match="fuses by a mean and has no attention"):
        evaluate(model, build_dataset("nyuv2", root, "test"), attention=True)
