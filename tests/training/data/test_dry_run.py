"""The dry run: what it prints, what it counts, the picture it draws."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from helpers.trees import make_tree
from torch.utils.flop_counter import FlopCounterMode

from ktb.checkpoints.load import save_model
from ktb.modeling.build import build_model, lite_config
from ktb.modeling.model import count_parameters
from training import train
from training.cost import ASSUMED_RATES, Cost, measure, shapes_only
from training.data.datasets import REGISTRY, build_dataset
from training.data.loader import Batch
from training.data.sheets import CELL, MAX_ROWS, draw_batch
from training.dry_run import _without_files
from training.recipes import Recipe, get_recipe, override, sunrgbd

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ("crop=64,64", "batch_size=2", "mask_rgb=0.5", "mask_x=0.5")


@pytest.fixture
def counted(monkeypatch):
    """Stands in for the counting, where something else is tested."""
    monkeypatch.setattr("training.dry_run.measure", lambda *_: Cost(1e9, 3e9, {"weights": 2**30}))


@pytest.fixture
def dry(capsys, tmp_path, monkeypatch):
    """A function: arguments of the command → what it printed; in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments) -> str:
        train.main([*map(str, arguments), "--dry-run"])
        return capsys.readouterr().out

    return run


def line(text: str, start: str) -> str:
    return next(row for row in text.splitlines() if row.strip().startswith(start))


def test_swin_needs_neither_data_nor_weights(dry, tmp_path):
    text = dry("sunrgbd-swin-b", "--set", "lr=1e-4")
    assert line(text, "Recipe sunrgbd-swin-b").endswith("(* differs from nyuv2-swin-b, > changed by --set)")
    assert line(text, "> lr").split() == [">", "lr", "0.0001", "was", "0.0004"]
    assert line(text, "* epochs").split() == ["*", "epochs", "300", "was", "400"]
    assert line(text, "batch_size").split() == ["batch_size", "4"]
    assert "Published: 53.7 mIoU" in text
    assert "of the recipe as it was before --set" in text
    assert line(text, "adapters").split() == ["adapters", "1,770,464", "1,770,464"]
    assert line(text, "backbone           86").split() == ["backbone", "86,888,056", "0"]
    assert "480 x 480" in text
    assert "5,285 training pairs as published, 1,321 steps an epoch, 396,300 in all" in text
    assert text.count("estimated, not measured") == 2
    hours = line(text, "Time on one GPU: ").split()[4]
    assert f"not measured: Swin-B {hours} hours" in sunrgbd.__doc__
    assert "Give --data" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size", "expected"), [("b", 7_545_886), ("l", 12_724_998)])
def test_published_sizes(size, expected):
    recipe = get_recipe(f"nyuv2-swin-{size}")
    counts = count_parameters(shapes_only(recipe, _without_files(recipe)))
    assert sum(trainable for _, trainable in counts.values()) == expected
    assert counts["backbone"][1] == 0


def test_with_data_it_draws_the_first_batch(dry, counted, tmp_path):
    root = make_tree("nyuv2", tmp_path / "data", size=(64, 96), count=5)
    text = dry("nyuv2-lite", "--data", root, "--out", tmp_path / "run", "--set", *SMALL)
    assert "5 training pairs here, 2 steps an epoch, 60 in all" in text
    assert str(tmp_path / "run" / "batch.png") in text
    picture = cv2.imread(str(tmp_path / "run" / "batch.png"))
    assert picture.shape[0] > 2 * CELL
    assert picture.shape[1] > 3 * CELL
    dry("nyuv2-lite", "--data", root, "--set", *SMALL)
    assert np.array_equal(cv2.imread("batch.png"), picture)


def test_frames_held_out_do_not_count(dry, counted, tmp_path):
    root = make_tree("nyuv2", tmp_path / "data", size=(64, 96), count=6)
    text = dry("nyuv2-lite", "--data", root, "--set", *SMALL, "eval_every=1", "val_fraction=0.34")
    assert "4 training pairs here" in text


def test_messages(dry, counted, tmp_path, capsys):
    def fails(*arguments) -> str:
        with pytest.raises(SystemExit) as caught:
            dry(*arguments)
        assert caught.value.code == 2
        return capsys.readouterr().err

    assert "modality 'thermal' is not known; choose from depth, hha, event" in fails(
        "nyuv2-lite", "--set", "modality=thermal"
    )
    assert "folder is missing" in fails("nyuv2-lite", "--data", tmp_path / "none")
    assert "is for a custom dataset" in fails("lite")
    assert "mine.yaml" in fails("lite", "--set", "dataset=mine.yaml")
    save_model(tmp_path / "nyu.safetensors", build_model(lite_config("nyuv2")), {})
    assert "do not fit" in fails("mfnet-lite", "--init", tmp_path / "nyu.safetensors")


def test_counts_are_those_of_a_real_step():
    recipe = override(
        get_recipe("nyuv2-lite"), ["crop=64,96", "batch_size=4", "precision=fp32", "loss_stride=1"]
    )
    cost = measure(shapes_only(recipe, _without_files(recipe)), recipe)
    model = build_model(lite_config()).train()
    image = torch.rand(4, 3, 64, 96)
    with FlopCounterMode(display=False) as counter:
        model(image, image)
    assert cost.forward_flops == pytest.approx(counter.get_total_flops() / 4, rel=0.02)
    assert cost.training_flops > 2 * cost.forward_flops
    counts = count_parameters(model)
    trainable = sum(trainable for _, trainable in counts.values())
    sizes = cost.memory
    assert (sizes["gradients"], sizes["AdamW"], sizes["averaged weights"]) == (
        4 * trainable,
        8 * trainable,
        4 * trainable,
    )
    assert sizes["weights"] >= 4 * sum(total for total, _ in counts.values())


def test_memory_falls_with_recomputing_parts_and_precision():
    recipe = override(get_recipe("nyuv2-lite"), ["crop=64,64", "batch_size=4", "precision=fp32", "ema=none"])

    def cost(**changes) -> Cost:
        changed = dataclasses.replace(recipe, **changes)
        return measure(shapes_only(changed, _without_files(changed)), changed)

    plain, again = cost(), cost(gradient_checkpointing=True)
    halves = cost(accumulate=2, precision="bf16")
    kept = plain.memory["activations"]
    assert plain.memory["averaged weights"] == 0
    assert halves.memory["activations"] == pytest.approx(0.6 * kept / 2, rel=0.1)
    assert halves.training_flops == pytest.approx(plain.training_flops, rel=0.2)  # some is per batch
    assert again.memory["activations"] < 0.9 * kept
    assert again.training_flops > plain.training_flops
    assert again.forward_flops == plain.forward_flops


def test_time_follows_from_operations():
    recipe = dataclasses.replace(get_recipe("nyuv2-swin-b"), batch_size=4)
    assert Cost(1e12, 3e12, {}).seconds_per_step(recipe) == pytest.approx(4 * 3e12 / ASSUMED_RATES["fp32"])
    assert Cost(1e6, 3e6, {}).seconds_per_step(recipe) == 0.1


def noise_batch(count: int, channels: int, low: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        tuple(f"sample {i}" for i in range(count)),
        torch.randint(0, 256, (count, 3, 48, 64), generator=generator, dtype=torch.uint8),
        torch.randint(low, 256, (count, channels, 48, 64), generator=generator).float(),
        torch.randint(0, 5, (count, 48, 64), generator=generator),
    )


def reddish(picture: np.ndarray, column: int) -> float:
    """Share of hatch-red pixels in the pictures of a column, for one row."""
    left = 16 + column * (CELL + 8)
    part = picture[:, left : left + CELL].astype(int)
    return float(((part - (176, 40, 52)) ** 2).sum(-1).__lt__(30).mean())


@pytest.mark.parametrize(("name", "modality", "channels"), [("nyuv2", "depth", 1), ("mcubes", "aolp", 3)])
def test_masked_pictures_are_hatched(tmp_path, name, modality, channels):
    data = build_dataset(name, make_tree(name, tmp_path), "train", modality=modality)
    batch = noise_batch(1, channels, low=-255 if modality == "aolp" else 0)
    masks = {"none": (None, None), "rgb": (torch.tensor([True]), torch.tensor([False]))}
    pictures = {key: draw_batch(batch, mask, data) for key, mask in masks.items()}
    assert pictures["rgb"].dtype == np.uint8
    assert [reddish(pictures["rgb"], column) > 0.05 for column in range(3)] == [True, False, False]
    assert [reddish(pictures["none"], column) > 0.05 for column in range(3)] == [False] * 3


def test_long_batches_are_cut_and_a_batch_may_be_all_ignored(tmp_path):
    data = build_dataset("pst900", make_tree("pst900", tmp_path), "train")
    many = draw_batch(noise_batch(MAX_ROWS + 4, 1), (None, None), data)
    full = draw_batch(noise_batch(MAX_ROWS, 1), (None, None), data)
    assert many.shape == full.shape
    void = noise_batch(1, 1)._replace(label=torch.full((1, 48, 64), 255))
    assert draw_batch(void, (None, None), data).shape[1] == full.shape[1]


@pytest.mark.parametrize(
    ("name", "modality"), [(n, m) for n, kind in REGISTRY.items() for m in kind.modalities]
)
def test_inputs_without_files_are_those_with_files(tmp_path, name, modality):
    recipe = Recipe("any", name, modality=modality)
    described = _without_files(recipe).input_config
    tree = make_tree(name, tmp_path)
    assert described == build_dataset(name, tree, "train", modality=modality).input_config
