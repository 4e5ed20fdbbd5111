"""Recipes, the schedule, and runs that stop and continue."""

import csv
import dataclasses
import itertools
import json
import math
import shutil
import signal
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from helpers.trees import make_tree

from ktb.checkpoints.load import load_model, save_model
from ktb.config import BRANCHES
from ktb.modeling.build import build_model, lite_config
from ktb.modeling.device import DeviceChoice
from training import train
from training.data.datasets import build_dataset
from training.data.datasets.sample import Sample
from training.data.loader import BatchLoader, Shard, network_input
from training.engine.optim import WeightAverage, parameter_groups, rate_at
from training.engine.state import PREVIOUS_FILE, STATE_FILE, RunLog, read_state
from training.engine.stopping import StopConditions, stopped_by_signals
from training.engine.trainer import MODEL_FILE, Trainer
from training.engine.validation import EVAL_COLUMNS, Validation
from training.model import RESIDUAL_START, make_model, model_config
from training.recipes import Recipe, get_recipe, override

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = override(
    get_recipe("nyuv2-lite"),
    ["crop=64,64", "batch_size=2", "epochs=2", "precision=fp32", "warmup_epochs=0.5"],
)


class Frames:
    """Six frames of noise with two classes."""

    num_classes = 40
    input_config: ClassVar = {"modality": "depth", "encoding": "depth"}

    def __len__(self) -> int:
        return 6

    def drawn(self, index: int, rng: np.random.Generator) -> Sample:
        return self[index]

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        label = np.zeros((72, 96), np.uint8)
        label[:, 48:] = 1
        return Sample(
            f"frame{index}",
            rng.integers(0, 256, (72, 96, 3), dtype=np.uint8),
            rng.integers(1, 256, (72, 96), dtype=np.uint8),
            label,
        )


def trainer(out, recipe: Recipe = TINY, workers: int = 0) -> Trainer:
    torch.manual_seed(recipe.seed)
    model = build_model(lite_config(), recipe.fusion_start)
    share = Shard(micro_batches=recipe.accumulate)
    loader = BatchLoader(
        Frames(), range(6), recipe.batch_size, recipe.augmentation, recipe.seed, workers, share
    )
    return Trainer(model, recipe, loader, out, save_model, Accelerator(cpu=True))


def test_resume_is_bit_exact(tmp_path):
    straight = trainer(tmp_path / "straight")
    assert straight.train(StopConditions(log_every=1))
    assert straight.step == 6
    first = trainer(tmp_path / "parts")
    assert not first.train(StopConditions(max_steps=4, log_every=1))
    torch.rand(7)  # another state of the global generator than the one saved
    second = trainer(tmp_path / "parts", workers=2)
    second.resume()
    assert second.step == 4
    assert second.train(StopConditions(log_every=1))
    continued = second.model.state_dict()
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, continued[name]), name
    for name, value in straight.average.values.items():
        assert torch.equal(value, second.average.values[name]), name
    logs = [list(csv.DictReader((tmp_path / run / "log.csv").open())) for run in ("straight", "parts")]
    assert [row["step"] for row in logs[0]] == ["1", "2", "3", "4", "5", "6"]
    for ours, theirs in zip(*logs, strict=True):
        assert {**ours, "images_per_s": ""} == {**theirs, "images_per_s": ""}
    lines = (tmp_path / "parts" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [float(row["loss"]) for row in logs[0]]


class Killed(BaseException):
    """What a test raises where a process would end."""


def assert_ends_as(straight: Trainer, ended: Trainer) -> None:
    """The same weights to the last bit, in memory and in the model file."""
    continued = ended.model.state_dict()
    assert all(torch.equal(value, continued[name]) for name, value in straight.model.state_dict().items())
    theirs, ours = (load_model(run.out / MODEL_FILE) for run in (straight, ended))
    assert ours.card["step"] == theirs.card["step"] == straight.step
    weights = ours.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in theirs.state_dict().items())


def test_resuming_at_the_last_step_trains_no_more(tmp_path):
    straight = trainer(tmp_path / "straight")
    straight.train(StopConditions(max_steps=3))
    for _ in range(2):
        again = trainer(tmp_path / "straight")
        again.resume()
        assert not again.train(StopConditions(max_steps=3))
        assert again.step == 3
    assert_ends_as(straight, again)


def test_a_kill_between_the_two_files_of_the_last_save_ends_the_same(tmp_path):
    straight = trainer(tmp_path / "straight")
    straight.train(StopConditions(max_steps=3))
    killed = trainer(tmp_path / "killed")

    def export(*_):
        raise Killed

    killed.export = export
    with pytest.raises(Killed):
        killed.train(StopConditions(max_steps=3))
    assert not (tmp_path / "killed" / MODEL_FILE).exists()
    again = trainer(tmp_path / "killed")
    again.resume()
    again.train(StopConditions(max_steps=3))
    assert_ends_as(straight, again)


def test_a_state_saved_before_a_validation_does_that_validation(tmp_path):
    def killed(_: Trainer) -> None:
        raise Killed

    first = trainer(tmp_path)
    with pytest.raises(Killed):
        first.train(StopConditions(save_every=0), killed)
    assert read_state(tmp_path)["step"] == 3  # the end of an epoch

    done = []
    again = trainer(tmp_path)
    again.resume()
    again.train(StopConditions(save_every=0), lambda run: done.append(run.step))
    assert done == [3, 6]

    done.clear()
    finished = trainer(tmp_path)
    finished.resume()
    assert finished.train(StopConditions(), lambda run: done.append(run.step))
    assert done == []


def test_a_state_of_an_older_version_follows_its_validation(tmp_path):
    trainer(tmp_path).train(StopConditions(max_steps=3))
    state = read_state(tmp_path)
    del state["validated"], state["frozen"]
    torch.save(state, tmp_path / STATE_FILE)
    done, again = [], trainer(tmp_path)
    again.resume()
    again.train(StopConditions(max_steps=3), lambda run: done.append(run.step))
    assert done == []


def damage(path, how: str) -> None:
    contents = bytearray(path.read_bytes())
    if how == "cut":
        contents = contents[: len(contents) // 2]
    elif how == "changed":
        contents[len(contents) // 2] ^= 1
    elif how == "empty":
        contents = b""
    elif how == "text":
        contents = b"no state"
    path.write_bytes(contents)
    if how == "foreign":
        torch.save({"step": 3}, path)


def test_a_damaged_state_is_told_in_words_and_the_one_before_goes_on(tmp_path):
    run = trainer(tmp_path)
    run.train(StopConditions(max_steps=2, save_every=0))
    whole = (tmp_path / STATE_FILE).read_bytes()
    message = r"last\.pt is damaged or of another kind .*previous\.pt: copy it to last\.pt"
    for how in ("cut", "changed", "empty", "text", "foreign"):
        (tmp_path / STATE_FILE).write_bytes(whole)
        damage(tmp_path / STATE_FILE, how)
        with pytest.raises(ValueError, match=message):
            read_state(tmp_path)
    shutil.copyfile(tmp_path / PREVIOUS_FILE, tmp_path / STATE_FILE)
    again = trainer(tmp_path)
    again.resume()
    again.train(StopConditions(max_steps=2))
    assert_ends_as(run, again)


def test_a_damaged_state_alone_says_how_to_start_anew(tmp_path):
    (tmp_path / STATE_FILE).write_bytes(b"no state")
    with pytest.raises(ValueError, match=r"last\.pt is damaged.* --init takes the weights"):
        trainer(tmp_path).resume()


def test_a_save_that_was_killed_between_two_names_loses_nothing(tmp_path):
    trainer(tmp_path).train(StopConditions(max_steps=1))
    (tmp_path / STATE_FILE).rename(tmp_path / PREVIOUS_FILE)
    assert read_state(tmp_path)["step"] == 1


def test_what_killed_saves_left_is_removed(tmp_path):
    for name in (".last.pt.tmp", ".best.safetensors.tmp"):
        (tmp_path / name).write_bytes(b"half a file")
    trainer(tmp_path).train(StopConditions(max_steps=1))
    assert not list(tmp_path.glob(".*"))


def test_signals_do_afterwards_what_they_did_before():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    limits = StopConditions()
    with stopped_by_signals(limits):
        signal.raise_signal(signal.SIGTERM)
    assert limits.stop
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_training_moves_what_trains_and_nothing_else(tmp_path):
    run = trainer(tmp_path)
    trainable = {name for name, _ in run.named}
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.train(StopConditions(max_steps=2))
    after = run.model.state_dict()
    frozen = {name for name, _ in run.model.named_parameters()} - trainable
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    # the first steps reach nearly everything; what lies behind a zero start may need a second one
    moved = [name for name in trainable if not torch.equal(before[name], after[name])]
    assert len(moved) > 0.8 * len(trainable)


def test_saved_model_has_the_averaged_weights(tmp_path):
    run = trainer(tmp_path)
    run.train(StopConditions(max_steps=3))
    saved = load_model(tmp_path / MODEL_FILE)
    weights = dict(saved.named_parameters())
    assert all(torch.equal(weights[name], value) for name, value in run.average.values.items())
    assert any(not torch.equal(weights[name], value) for name, value in run.named)
    assert saved.card["step"] == 3
    assert saved.card["recipe"]["name"] == "nyuv2-lite"


def test_resume_refuses_another_recipe(tmp_path):
    with pytest.raises(ValueError, match="nothing to resume"):
        trainer(tmp_path).resume()
    trainer(tmp_path).train(StopConditions(max_steps=1))
    with pytest.raises(ValueError, match=r"'lr': \(0\.001, 0\.5\)"):
        trainer(tmp_path, dataclasses.replace(TINY, lr=0.5)).resume()


def test_resume_refuses_other_frozen_weights(tmp_path):
    trainer(tmp_path).train(StopConditions(max_steps=1))
    other = trainer(tmp_path)
    frozen = next(p for p in other.model.parameters() if not p.requires_grad and p.ndim > 1)
    with torch.no_grad():
        frozen.view(-1)[0] += 2**-20
    with pytest.raises(ValueError, match=r"other frozen weights .SHA-256 .* Give the same --init or pretr"):
        other.resume()


def test_averaged_weights_have_their_own_batch_norm_statistics(tmp_path):
    run = trainer(tmp_path, dataclasses.replace(TINY, dropout=0.0, masking=False, ema=0.9))
    for module in run.model.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.p = 0.0
    run.train(StopConditions(max_steps=3))
    norm = run.model.heads["fused"].norm
    own, running, random = norm.running_mean.clone(), run.model.state_dict(), torch.get_rng_state()
    running = {name: value.clone() for name, value in running.items()}
    with run.averaged() as model:
        found = norm.running_mean.clone()
        assert not model.training
    assert not torch.allclose(found, own, atol=1e-3)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, running[name]) for name, value in run.model.state_dict().items())

    seen = []  # by hand: the inputs of this norm under the averaged weights, over the batches of epoch 0
    handle = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean((0, 2, 3))))
    with run.average.applied(), torch.no_grad():
        run.model.train()
        for (batch,) in run.loader.epoch(0):
            run.model(*network_input(run.model, batch, run.device))
    handle.remove()
    assert torch.allclose(torch.stack(seen).mean(0), found, atol=1e-5)
    saved = dict(load_model(tmp_path / MODEL_FILE).named_buffers())
    assert torch.allclose(saved["heads.fused.norm.running_mean"], found, atol=1e-6)


def test_loss_that_is_not_finite_names_the_files_and_saves_nothing(tmp_path):
    run = trainer(tmp_path)
    with torch.no_grad():
        run.named[-1][1].fill_(math.nan)
    with pytest.raises(ValueError, match=r"frame\d, frame\d"):
        run.train(StopConditions())
    assert not (tmp_path / STATE_FILE).exists()


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_loader_starts_anywhere_and_threads_change_nothing(mix):
    config = dataclasses.replace(TINY.augmentation, mix=mix)
    loaders = [BatchLoader(Frames(), range(6), 2, config, 1, workers) for workers in (0, 2)]
    whole, threaded = ([batch for (batch,) in loader.epoch(3)] for loader in loaders)
    ((last,),) = loaders[1].epoch(3, start=2)
    assert sorted(name for batch in whole for name in batch.names) == [f"frame{i}" for i in range(6)]
    for a, b in [*zip(whole, threaded, strict=True), (whole[2], last)]:
        assert a.names == b.names
        assert all(torch.equal(x, y) for x, y in zip(a[1:], b[1:], strict=True))
    ((other,), *_) = loaders[0].epoch(4)
    assert not torch.equal(other.rgb, whole[0].rgb)
    assert whole[0].rgb.dtype == torch.uint8
    assert whole[0].modal_x.shape == (2, 1, 64, 64)
    with pytest.raises(ValueError, match="batch_size"):
        BatchLoader(Frames(), range(6), 7, TINY.augmentation, 1)


def test_a_model_without_a_residual_starts_one_with_it_and_not_the_other_way_round(tmp_path):
    start = tmp_path / "start.safetensors"
    save_model(start, build_model(lite_config("nyuv2")), {})
    data = SimpleNamespace(name="nyuv2", modality="depth", input_config={"modality": "depth"})
    with_residual = dataclasses.replace(TINY, model={"fusion.residual": True})
    model, given = make_model(with_residual, data, start), load_model(start)
    assert torch.equal(model.dscf[2].up.weight, RESIDUAL_START * given.dscf[2].up.weight)
    assert torch.equal(model.dscf[2].down_x.weight, given.dscf[2].down_x.weight)
    save_model(start, model, {})
    assert torch.equal(make_model(with_residual, data, start).dscf[2].up.weight, model.dscf[2].up.weight)
    with pytest.raises(ValueError, match=r"start.safetensors was trained with a residual.*--set"):
        make_model(dataclasses.replace(TINY, model={}), data, start)


def test_another_models_weights_start_a_model_of_other_classes_but_for_its_classifiers(tmp_path):
    start = tmp_path / "start.safetensors"
    torch.manual_seed(1)
    save_model(start, build_model(lite_config("nyuv2")), {})
    recipe = get_recipe("mfnet-lite")
    data = build_dataset("mfnet", make_tree("mfnet", tmp_path / "mfnet"), "train")
    with pytest.raises(ValueError, match=r"do not fit the network\. shape mismatch"):
        make_model(recipe, data, start)
    weights, given = make_model(recipe, data, start, new_classes=True).state_dict(), load_model(start)
    differs = {name for name, value in given.state_dict().items() if not torch.equal(value, weights[name])}
    assert differs == {f"heads.{b}.classifier.{part}" for b in BRANCHES for part in ("weight", "bias")}


def test_schedule():
    rates = [rate_at(step, 100, 10, 0.1, 0.9) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[5] == pytest.approx(0.55)
    assert rates[10] == 1
    assert rates[55] == pytest.approx(0.5**0.9)
    assert rates[100] == 0
    assert all(b > a for a, b in itertools.pairwise(rates[:11]))
    assert all(b < a for a, b in itertools.pairwise(rates[10:]))


def test_no_decay_for_vectors_and_bias_tables():
    model = build_model(lite_config())
    decayed, plain = parameter_groups(model.trainable_parameters(), 0.01)
    assert decayed["weight_decay"] == 0.01
    assert plain["weight_decay"] == 0
    exempt = {id(parameter) for parameter in plain["params"]}
    for name, parameter in model.trainable_parameters():
        assert (id(parameter) in exempt) == (parameter.ndim < 2 or "bias_table" in name), name
    decayed, plain = parameter_groups(model.trainable_parameters(), 0.01, decay_tables=True)
    exempt = {id(parameter) for parameter in plain["params"]}
    assert not any(id(p) in exempt for name, p in model.trainable_parameters() if "bias_table" in name)


def test_average_follows_and_gives_the_own_weights_back():
    layer = torch.nn.Linear(2, 2)
    average = WeightAverage(layer.named_parameters(), 0.5)
    own = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight += 1
    average.update(100)
    with average.applied():
        assert torch.allclose(layer.weight, own + 0.5)
    assert torch.equal(layer.weight, own + 1)
    with pytest.raises(ValueError, match="ema"):
        WeightAverage(layer.named_parameters(), 1.0)


def test_overrides():
    recipe = override(
        get_recipe("nyuv2-lite"),
        [
            "lr=5e-4",
            "crop=480,640",
            "precision=fp32",
            "ema=none",
            "model.inputs.short_side=480",
            "pretrained=a.pth",
        ],
    )
    assert (recipe.lr, recipe.crop, recipe.precision, recipe.ema) == (5e-4, (480, 640), "fp32", None)
    assert recipe.pretrained == "a.pth"
    assert recipe.model == {"inputs.short_side": 480}
    assert recipe.augmentation.crop == (480, 640)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize=4", "Did you mean 'batch_size'"),
        ("epochs=ten", "epochs: 'ten'"),
        ("masking=1", "true or false"),
        ("precision=fp8", "fp32, bf16, fp16"),
        ("dropout=1.0", "dropout: '1.0' is not valid .it must be less than 1."),
        ("crop=480", "2 values"),
        ("lr", "key=value"),
        ("epochs=1", "warmup_epochs"),
        ("lr=0", "lr: '0' is not valid .it must be greater than 0."),
    ],
)
def test_overrides_that_cannot_be(text, message):
    with pytest.raises(ValueError, match=message):
        override(get_recipe("nyuv2-lite"), [text])


def test_command_line_messages(tmp_path, capsys):
    def fails(*arguments):
        with pytest.raises(SystemExit) as caught:
            train.main([*arguments, "--data", str(tmp_path / "data"), "--out", str(tmp_path)])
        assert caught.value.code == 2
        return capsys.readouterr().err

    assert "Did you mean 'nyuv2-lite'" in fails("nyuv2-light")
    assert "folder is missing" in fails("nyuv2-lite")
    assert "choose one of fused_miou" in fails("nyuv2-lite", "--set", "select=miou")
    assert "choose auto, cpu or cuda" in fails("nyuv2-lite", "--device", "cuda:7")
    assert "needs a CUDA device" in fails("nyuv2-lite", "--device", "cpu", "--set", "precision=fp16")
    (tmp_path / STATE_FILE).touch()
    assert "--resume" in fails("nyuv2-lite")


def test_several_processes_and_parts_see_what_one_sees():
    whole = BatchLoader(Frames(), range(6), 4, TINY.augmentation, 1, 0)
    shared = [
        BatchLoader(Frames(), range(6), 4, TINY.augmentation, 1, 0, Shard(process, 2, 2))
        for process in (0, 1)
    ]
    ((batch,),) = whole.epoch(2)
    parts = [part for loader in shared for (*parts,) in loader.epoch(2) for part in parts]
    assert [part.names for part in parts] == [(name,) for name in batch.names]
    assert torch.equal(torch.cat([part.rgb for part in parts]), batch.rgb)
    with pytest.raises(ValueError, match="2 processes x 3"):
        BatchLoader(Frames(), range(6), 4, TINY.augmentation, 1, 0, Shard(0, 2, 3))


def test_masks_are_drawn_for_the_whole_batch(tmp_path):
    recipe = dataclasses.replace(TINY, batch_size=6, accumulate=3)
    parts = trainer(tmp_path, recipe)._masks(0)
    whole = trainer(tmp_path, dataclasses.replace(recipe, accumulate=1))._masks(0)
    assert len(parts) == 3
    for stream in (0, 1):
        assert torch.equal(torch.cat([part[stream] for part in parts]), whole[0][stream])
    assert trainer(tmp_path, dataclasses.replace(recipe, masking=False))._masks(0) == [(None, None)] * 3


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path, monkeypatch):
    """Batch norm sees one part at a time, so its statistics are held still; labels are all valid."""
    recipe = dataclasses.replace(
        TINY,
        batch_size=4,
        dropout=0.0,
        mask_labels=False,
        ema=None,
        scale=(1.0, 1.0),
        crop=(72, 96),
        dataset="nyuv2",
    )
    monkeypatch.setattr(
        torch.nn.BatchNorm2d, "train", lambda self, mode=True: torch.nn.Module.train(self, False)
    )
    gradients = []
    for accumulate in (1, 2):
        run = trainer(tmp_path, dataclasses.replace(recipe, accumulate=accumulate))
        for module in run.model.modules():
            if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
                module.p = 0.0
        run.model.train()
        run._step(next(iter(run.loader.epoch(0))))
        gradients.append({name: p.grad for name, p in run.named})
    for name, whole in gradients[0].items():
        assert torch.allclose(whole, gradients[1][name], atol=1e-5 + 1e-3 * whole.abs().max()), name


def test_self_teaching_off_leaves_the_branches_alone(tmp_path):
    run = trainer(tmp_path, dataclasses.replace(TINY, self_teaching=False, weight_decay=0.0, ema=None))
    before = run.model.heads["rgb"].classifier.weight.clone()
    fused = run.model.heads["fused"].classifier.weight.clone()
    run.train(StopConditions(max_steps=2))
    assert torch.equal(run.model.heads["rgb"].classifier.weight, before)
    assert not torch.equal(run.model.heads["fused"].classifier.weight, fused)


def test_checkpointed_blocks_give_the_same_gradients():
    torch.manual_seed(0)
    model = build_model(lite_config()).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.p = 0.0
    rgb, modal_x = torch.randn(2, 2, 3, 64, 64)
    found = []
    for _ in range(2):
        model.zero_grad()
        model(rgb, modal_x).fused.square().mean().backward()
        found.append({name: p.grad.clone() for name, p in model.trainable_parameters() if p.grad is not None})
        model.backbone.set_grad_checkpointing()
    assert found[0].keys() == found[1].keys()
    assert all(torch.allclose(value, found[1][name], atol=1e-6) for name, value in found[0].items())


def test_own_class_lists_reach_the_model():
    dataset = SimpleNamespace(
        name="bolts",
        classes=("bolt", "nut"),
        palette=((1, 2, 3), (4, 5, 6)),
        modality="thermal",
        input_config={"modality": "thermal", "encoding": "image"},
    )
    config = model_config(TINY, dataset)
    assert (config.classes, config.dataset, config.name) == (
        ("bolt", "nut"),
        "bolts",
        "ktb-lite-bolts-thermal",
    )
    assert config.inputs.short_side == 64
    changed = dataclasses.replace(TINY, model={"fusion.kind": "mean", "inputs.short_side": 96})
    config = model_config(changed, dataset)
    assert (config.fusion.kind, config.inputs.short_side) == ("mean", 96)


def class_counts(tmp_path, resume: bool) -> dict[str, int]:
    """The counts that a run keeps, where a run on other data has left some."""
    recipe = dataclasses.replace(TINY, class_weight_power=0.5)
    frames = Frames()
    frames.classes = tuple(f"class {i}" for i in range(frames.num_classes))
    loader = BatchLoader(frames, range(6), 2, recipe.augmentation, 0, 0, Shard())
    stale = dict.fromkeys(frames.classes, 7)
    (tmp_path / train.COUNTS_FILE).write_text(json.dumps(stale))
    weights = train._class_weights(recipe, loader, tmp_path, resume)
    assert weights.shape == (frames.num_classes,)
    return json.loads((tmp_path / train.COUNTS_FILE).read_text())


def test_class_counts_are_reused_only_to_resume(tmp_path):
    assert set(class_counts(tmp_path, resume=True).values()) == {7}
    counted = class_counts(tmp_path, resume=False)
    assert counted["class 0"] == counted["class 1"] == 6 * 72 * 48
    assert counted["class 2"] == 0


@pytest.mark.parametrize(
    ("device", "cuda", "on_cpu"), [("cpu", True, True), ("auto", False, True), ("auto", True, False)]
)
def test_the_cpu_is_used_where_cuda_is_absent(monkeypatch, device, cuda, on_cpu):
    """Accelerate would take Apple's MPS, which nothing here was tried on."""
    asked = {}
    choice = DeviceChoice("cuda" if cuda else "cpu", "It stands in for a GPU.")
    monkeypatch.setattr(train, "choose_device", lambda device, with_mps: choice)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)

    def accelerator(**options):
        asked.update(options)
        return SimpleNamespace(device=torch.device("cpu"))

    monkeypatch.setattr(train, "Accelerator", accelerator)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    train._accelerator(device, TINY)
    assert asked["cpu"] is on_cpu


def test_validation_leaves_the_last_save_to_the_trainer(tmp_path, monkeypatch):
    recipe = dataclasses.replace(TINY, eval_every=1)
    run = trainer(tmp_path, recipe)
    saved = []
    save = run.save
    monkeypatch.setattr(run, "save", lambda: (saved.append(run.step), save()))
    scores = {branch: {"miou": 1.0, "pixel_accuracy": 1.0, "class_accuracy": 1.0} for branch in BRANCHES}
    monkeypatch.setattr("training.engine.validation.evaluate", lambda *_, **__: scores | {"images": 1})
    watch = Validation(Frames(), [0], "one frame", False, tmp_path)
    watch.log = RunLog(tmp_path / "eval.csv", EVAL_COLUMNS)
    assert run.train(StopConditions(save_every=math.inf), watch)
    assert saved == [3, 6]
