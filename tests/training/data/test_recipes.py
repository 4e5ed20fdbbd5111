"""The recipes against the published table, what derives from what, and changes from the command line."""

import dataclasses
import importlib
import pkgutil

import numpy as np
import pytest
from helpers.trees import make_tree
from PIL import Image

import training.recipes
from training.data.datasets import REGISTRY, build_dataset
from training.model import model_config
from training.recipes import GROUPS, RECIPES, Recipe, changed_model, get_recipe, override
from training.recipes.base import NO_SETTINGS

# name: dataset, X, backbone, epochs, rate, decay, train size, eval size, loss, published mIoU
NYU = ("nyuv2", "hha", 400, 4e-4, 0.01, (480, 640), 480, "ce")
SUN = ("sunrgbd", "depth", 300, 4e-4, 0.01, (480, 480), 480, "ce")
MFNET = ("mfnet", "thermal", 200, 8e-5, 5e-4, (480, 640), 480, "ce")
PST = ("pst900", "thermal", 200, 6e-4, 0.01, (480, 640), 720, "ce")
MCUBES = (500, 6e-5, 0.01, (512, 512), 1024, "ohem")
DELIVER = ("deliver", "event", 200, 2e-4, 0.01, (768, 768), 1024, "ce")
PUBLISHED = {
    "nyuv2-swin-b": (*NYU, "swin-b", 59.0),
    "nyuv2-swin-l": (*NYU, "swin-l", 59.9),
    "sunrgbd-swin-b": (*SUN, "swin-b", 53.7),
    "sunrgbd-swin-l": (*SUN, "swin-l", 55.0),
    "mfnet-swin-b": (*MFNET, "swin-b", 59.9),
    "mfnet-swin-l": (*MFNET, "swin-l", 59.2),
    "pst900-swin-b": (*PST, "swin-b", 87.6),
    "pst900-swin-l": (*PST, "swin-l", 88.7),
    "mcubes-swin-b-nir": ("mcubes", "nir", *MCUBES, "swin-b", 53.8),
    "mcubes-swin-b-dolp": ("mcubes", "dolp", *MCUBES, "swin-b", 54.5),
    "mcubes-swin-b-aolp": ("mcubes", "aolp", *MCUBES, "swin-b", 53.7),
    "deliver-swin-b-event": (*DELIVER, "swin-b", 58.4),
}
MODULES = [
    importlib.import_module(f"training.recipes.{module.name}")
    for module in pkgutil.iter_modules(training.recipes.__path__)
]


def differences(recipe: Recipe, other: Recipe) -> set[str]:
    names = {f.name for f in dataclasses.fields(Recipe)} - {"name", *NO_SETTINGS}
    return {name for name in names if getattr(recipe, name) != getattr(other, name)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipe(name):
    r = get_recipe(name)
    found = (
        r.dataset,
        r.modality,
        r.epochs,
        r.lr,
        r.weight_decay,
        r.crop,
        r.model["inputs.short_side"],
        r.loss,
    )
    assert (*found, r.backbone, r.published) == PUBLISHED[name]
    assert list(r.model) == ["inputs.short_side"]
    assert (r.batch_size, r.accumulate, r.precision, r.seed) == (4, 1, "fp32", 3407)
    assert (r.warmup_epochs, r.warmup_start, r.poly_power) == (10, 0.1, 0.9)
    assert (r.ema, r.grad_clip, r.label_smoothing, r.class_weight_power, r.loss_stride) == (
        None,
        None,
        0,
        0,
        1,
    )
    assert (r.masking, r.mask_rgb, r.mask_x) == (True, 0.25, 0.25)
    assert (r.self_teaching, r.branch_weight, r.mask_labels) == (True, 0.01, True)
    assert (r.flip, r.dequantise, r.x_scale, r.holes, r.dropout) == (0.5, False, (1, 1), 0, None)
    assert (r.alpha, r.qk_gain, r.bias_sigmas, r.prompt_zero) == ((1e-3, 1e-3, 1e-3, 1), 1, (), False)
    if r.dataset == "mcubes":
        assert (r.jitter, r.blur, r.blur_sigma, r.blur_x) == (0, 0.5, (0, 1), r.modality == "nir")
        assert (r.ohem_threshold, r.ohem_min_kept) == (0.7, 1 / 16)
    else:
        assert (r.jitter, r.jitter_range, r.blur, r.blur_sigma, r.blur_x) == (
            0.2,
            (0.5, 1.5),
            0.2,
            None,
            False,
        )
    assert r.scale == (0.5, 2.0)  # scale 1: the short side becomes the crop's height
    assert r.crop[0] <= r.crop[1]
    assert (r.mirror_angles, r.decay_tables) == (True, False)


def test_there_are_exactly_the_published_ones_and_small_ones_for_every_dataset():
    assert {r.name for r in GROUPS["as published"]} == set(PUBLISHED)
    assert all(r.published is None for r in RECIPES.values() if r.name not in PUBLISHED)
    assert {r.dataset for r in GROUPS["small"]} == set(REGISTRY)
    assert all(r.backbone.startswith("lite") for r in GROUPS["small"])
    assert len(RECIPES) == sum(map(len, GROUPS.values()))
    assert all(name == recipe.name for name, recipe in RECIPES.items())


def test_recipes_derive_from_one_another():
    for dataset in ("nyuv2", "sunrgbd", "mfnet", "pst900"):
        assert differences(get_recipe(f"{dataset}-swin-l"), get_recipe(f"{dataset}-swin-b")) == {"backbone"}
    assert get_recipe("sunrgbd-swin-l").parent is get_recipe("sunrgbd-swin-b")
    assert get_recipe("sunrgbd-swin-b").parent is get_recipe("nyuv2-swin-b")
    assert get_recipe("mfnet-lite").parent is get_recipe("nyuv2-lite")
    child = get_recipe("nyuv2-swin-b").derive("child", lr=1.0)
    assert (child.published, child.lr, child.epochs) == (None, 1.0, 400)


def test_recipes_of_the_embedded_model_are_as_they_were_used():
    first, fine, long = (get_recipe(f"nyuv2-lite{end}") for end in ("", "-fine", "-long"))
    assert (first.epochs, first.lr, first.crop, first.scale) == (30, 1e-3, (240, 320), (0.8, 1.8))
    assert (first.ema, first.grad_clip, first.mask_rgb, first.mask_x) == (0.998, 5.0, 0.125, 0.125)
    assert (fine.epochs, fine.lr, fine.crop, fine.branch_weight) == (17, 8e-4, (288, 384), 0.7)
    assert fine.model == {"inputs.short_side": 384}
    assert differences(long, fine) == {"epochs", "lr", "warmup_epochs", "class_weight_power"}
    sensors = get_recipe("nyuv2-lite-sensors")
    faults = {"depth_faults", "rgb_faults", "misalignment", "absent"}
    changed = {"epochs", "crop", "scale", "model", "val_fraction", "eval_every"}
    assert differences(sensors, long) == changed | faults
    assert sensors.model == {"inputs.short_side": 384, "fusion.residual": True}


def test_ablations_change_one_thing_each():
    full = get_recipe("ablation-full")
    assert differences(full, get_recipe("nyuv2-lite")) == {"epochs", "crop", "warmup_epochs"}
    for name, model in (
        ("no-mapa", {"fusion.prompts": False}),
        ("no-adapters", {"backbone.adapters": False}),
        ("mean-fusion", {"fusion.kind": "mean"}),
    ):
        recipe = get_recipe(f"ablation-{name}")
        assert differences(recipe, full) == {"model"}
        assert recipe.model == model
    assert differences(get_recipe("ablation-no-mmst"), full) == {"masking", "mask_labels"}
    alone = get_recipe("ablation-fused-only")
    assert differences(alone, full) == {"masking", "self_teaching"}
    assert not alone.masking
    assert not alone.self_teaching


def test_comparisons_change_one_thing_each_and_share_their_validation():
    base = get_recipe("compare-residual")
    assert (base.epochs, base.crop, base.val_fraction) == (12, (240, 320), 0.1)
    for name, model in (
        ("dscf", {}),
        ("mean", {"fusion.kind": "mean"}),
        ("no-mapa", {"fusion.residual": True, "fusion.prompts": False}),
        ("no-adapters", {"fusion.residual": True, "backbone.adapters": False}),
    ):
        recipe = get_recipe(f"compare-{name}")
        assert differences(recipe, base) == {"model"}
        assert recipe.model == model
    assert differences(get_recipe("compare-no-mmst"), base) == {"masking", "mask_labels"}
    assert differences(get_recipe("compare-fused-only"), base) == {"masking", "self_teaching"}


def test_x_of_angles_and_events_is_not_disturbed():
    for name in ("mcubes-lite-nir", "mcubes-lite-dolp", "mcubes-lite-aolp", "nyuv2-lite-event", "lite"):
        assert (get_recipe(name).dequantise, get_recipe(name).x_scale) == (False, (1, 1))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_stands_in_a_file_that_opens_with_its_command(name):
    (module,) = (m for m in MODULES if f"python -m training.train {name} " in m.__doc__)
    recipe = RECIPES[name]
    values = [item for v in vars(module).values() for item in (v if isinstance(v, tuple) else (v,))]
    assert any(value is recipe for value in values)
    if recipe.published is not None:
        assert "estimated by training/cost.py and not measured" in module.__doc__
        assert str(recipe.published) in module.__doc__


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.dataset])
def test_every_recipe_gives_a_network_for_its_dataset(name, tmp_path):
    recipe = override(get_recipe(name), [])
    data = build_dataset(
        recipe.dataset, make_tree(recipe.dataset, tmp_path), "train", modality=recipe.modality
    )
    config = model_config(recipe, data)
    assert config.num_classes == data.num_classes
    assert config.inputs.modality == recipe.modality
    assert config.inputs.short_side == recipe.model.get("inputs.short_side", min(recipe.crop))
    assert config.backbone.kind == recipe.backbone.partition("-")[0].rstrip("12")


def test_settings_are_saved_without_what_is_said_about_them():
    saved = get_recipe("nyuv2-swin-l").as_dict()
    assert not saved.keys() & {"parent", "published"}
    assert saved["crop"] == [480, 640]
    assert saved["model"] == {"inputs.short_side": 480}


def test_overrides():
    recipe = override(
        get_recipe("nyuv2-lite"),
        [
            *("lr=5e-4", "crop=480,640", "masking=false", "ema=none", "pretrained=a.pth", "epochs=3"),
            *("bias_sigmas=0.1,0.2,0.3,0.4", "precision=fp32", "blur_sigma=0,1"),
            *("model.inputs.short_side=480", "model.fusion.kind=mean", "model.backbone.adapters=false"),
            "model.head_dims=64,32,32",
        ],
    )
    assert (recipe.lr, recipe.crop, recipe.masking, recipe.ema) == (5e-4, (480, 640), False, None)
    assert (recipe.pretrained, recipe.epochs, recipe.precision) == ("a.pth", 3, "fp32")
    assert (recipe.bias_sigmas, recipe.blur_sigma) == ((0.1, 0.2, 0.3, 0.4), (0, 1))
    assert recipe.model == {
        "inputs.short_side": 480,
        "fusion.kind": "mean",
        "backbone.adapters": False,
        "head_dims": (64, 32, 32),
    }
    assert get_recipe("nyuv2-lite").model == {}
    assert override(get_recipe("nyuv2-swin-b"), ["model.inputs.short_side=none"]).model == {
        "inputs.short_side": None
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize=4", "no setting 'batchsize'. Did you mean 'batch_size'"),
        ("short_side=480", "Did you mean 'model.inputs.short_side'"),
        ("published=99", "no setting 'published'"),
        ("parent=x", "no setting 'parent'"),
        ("name=x", "no setting 'name'"),
        ("model=x", "no setting 'model'"),
        ("lr", "key=value"),
        ("epochs=ten", "--set epochs: 'ten' is not valid .expected a whole number.; now 30"),
        ("epochs=1.5", "expected a whole number"),
        ("lr=nan", "expected a finite number"),
        ("lr=none", "expected a finite number"),
        ("masking=1", "expected true or false"),
        ("crop=480", "expected a list of 2 values"),
        ("crop=480,x", "expected a whole number"),
        ("precision=fp8", "allowed: fp32, bf16, fp16"),
        ("backbone=swin-t", "allowed: lite, lite1, lite2, swin-b, swin-l"),
        ("epochs=1", "warmup_epochs"),
        ("lr=0", "--set lr: '0' is not valid .it must be greater than 0"),
        ("flip=2", "flip: '2' is not valid .it must be less than or equal to 1"),
        ("mask_x=0.6", "mask_x: .* must be in .0, 0.5.: no sample loses both"),
        ("scale=2,1", "the lower one first"),
        ("crop=16,64", "must have at least 32 pixels on each side"),
        ("ema=1", "ema: .* must be less than 1"),
        (
            "model.inputs.shortside=480",
            "Did you mean 'model.inputs.short_side'.*Allowed: model.inputs.rgb_mean",
        ),
        ("model.input.short_side=480", "Did you mean 'model.inputs.short_side'"),
        ("model.inputs=480", "no setting 'model.inputs'"),
        ("model.inputs.short_side.x=480", "no setting 'model.inputs.short_side.x'"),
        ("model.backbone.window_size=7", "The lite network has no setting 'model.backbone.window_size'"),
        ("model.num_classes=3", "model.num_classes cannot be set: it follows from the dataset"),
        ("model.backbone.kind=swin", "follows from the backbone .--set backbone="),
        ("model.inputs.modality=event", "--set modality="),
        ("model.inputs.short_side=abc", "model.inputs.short_side is 'abc'; expected a whole number or none"),
        ("model.inputs.short_side=4.5", "expected a whole number or none"),
        ("model.inputs.short_side=3", "give 32 to 16384 pixels"),
        ("model.fusion.kind=meen", "allowed: dscf, mean"),
        ("model.fusion.prompts=1", "model.fusion.prompts is 1; expected true or false"),
        ("model.head_dims=3", "model.head_dims is 3; expected a list"),
        ("model.fusion.strides=1,2", "give 4 numbers"),
    ],
)
def test_changes_that_cannot_be(text, message):
    with pytest.raises(ValueError, match=message):
        override(get_recipe("nyuv2-lite"), [text])


def test_model_settings_are_those_of_the_backbone_that_is_asked_for():
    changes = ["model.backbone.window_size=8", "backbone=swin-b"]
    assert override(get_recipe("nyuv2-lite"), changes).model == {"backbone.window_size": 8}
    with pytest.raises(ValueError, match="has no setting"):
        override(get_recipe("nyuv2-swin-b"), ["model.backbone.window_size=8", "backbone=lite"])


def test_changed_model_replaces_by_path_and_leaves_the_rest(tmp_path):
    data = build_dataset("mfnet", make_tree("mfnet", tmp_path), "train")
    before = model_config(get_recipe("mfnet-lite"), data)
    after = changed_model(before, {"fusion.kind": "mean", "inputs.short_side": 96})
    assert (after.fusion.kind, after.inputs.short_side) == ("mean", 96)
    assert dataclasses.replace(after, fusion=before.fusion, inputs=before.inputs) == before


def test_recipe_names_are_listed_by_group_with_the_nearest():
    with pytest.raises(ValueError) as caught:
        get_recipe("nyuv2-swinb")
    text = str(caught.value)
    assert "Did you mean 'nyuv2-swin-b'?" in text
    assert "; small: nyuv2-lite, " in text
    assert all(name in text for name in RECIPES)


def test_own_data_needs_a_file_and_takes_classes_and_x_from_it(tmp_path):
    for name in ("lite", "swin-b", "swin-l"):
        with pytest.raises(
            ValueError, match=f"'{name}' is for a custom dataset: add --set dataset=FILE.yaml"
        ):
            override(get_recipe(name), ["lr=1e-3"])
    rng = np.random.default_rng(0)
    for folder, channels in (("photos", 3), ("heat", 1), ("labels", 1)):
        (tmp_path / folder).mkdir()
        for i in range(4):
            image = rng.integers(0, 3 if folder == "labels" else 256, (40, 48, channels), dtype=np.uint8)
            Image.fromarray(image.squeeze()).save(tmp_path / folder / f"{i}.png")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "rgb: photos\nx: heat\nlabels: labels\nmodality: thermal\nclasses: [soil, tree, fruit]\n"
        "split: {train: 0.5, val: 0.5}\n"
    )
    for name in ("lite", "swin-b"):
        recipe = override(get_recipe(name), [f"dataset={file}"])
        data = build_dataset(recipe.dataset, None, "train", modality=recipe.modality)
        config = model_config(recipe, data)
        assert config.classes == ("soil", "tree", "fruit")
        assert config.inputs.modality == "thermal"
        assert len(config.palette) == 3
