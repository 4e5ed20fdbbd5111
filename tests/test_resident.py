"""Weights stay in their file until they are used, and go back there when they are not."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ktb import load_model, save_model
from ktb.modeling.build import build_model, lite_config
from ktb.resident import give_back_files, give_back_weights
from ktb.utils.atomic import write_atomically

SMAPS = Path("/proc/self/smaps")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which pages are in memory")


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    save_model(tmp_path / "model.safetensors", build_model(lite_config()), card={})
    return tmp_path / "model.safetensors"


def resident(file: Path) -> int:
    """KiB of a mapped file that are in this process's memory."""
    found, counted = 0, False
    for line in SMAPS.read_text().splitlines():
        if not line[0].isupper():
            counted = line.endswith(str(file))
        elif counted and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found


@on_linux
def test_loaded_weights_are_the_pages_of_their_file(file):
    model = load_model(file)
    assert resident(file) > 0.8 * file.stat().st_size / 1024
    del model
    assert resident(file) == 0


def test_weights_that_are_changed_do_not_change_their_file(file):
    before = file.read_bytes()
    model = load_model(file)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert file.read_bytes() == before


def test_a_file_may_be_replaced_while_its_weights_are_in_use(file):
    model = load_model(file)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_model(file, build_model(lite_config()), card={})
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


@on_linux
def test_weights_are_given_back_and_read_again(file):
    model = load_model(file)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    held = resident(file)
    give_back_weights(model.state_dict().values())
    assert resident(file) < held / 10
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert resident(file) > held / 2


@on_linux
def test_changed_weights_are_never_given_back(file):
    model = load_model(file)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    held = resident(file)
    give_back_weights(model.state_dict().values())
    assert resident(file) == held
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


@on_linux
def test_files_of_a_folder_are_given_back(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/inside", "outside"):
        write_atomically(tmp_path / name, lambda file: save_file({"t": torch.ones(1 << 18)}, file))
    inside, outside = (load_file(tmp_path / name)["t"] for name in ("a/inside", "outside"))
    assert inside.sum() == outside.sum() == 1 << 18
    give_back_files(tmp_path / "a")
    assert resident(tmp_path / "a/inside") < 100
    assert resident(tmp_path / "outside") > 1000
    assert inside.sum() == 1 << 18


@on_linux
def test_files_may_have_any_name(tmp_path):
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    place.mkdir()
    (place / "file").write_bytes(b"0" * (1 << 20))
    with (
        (place / "file").open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as held,
    ):
        assert held[:] == b"0" * (1 << 20)
        give_back_files(place)
        assert held[:] == b"0" * (1 << 20)


def test_a_system_that_does_not_tell_keeps_everything(file, tmp_path, monkeypatch):
    monkeypatch.setattr("ktb.resident._MAPPINGS", tmp_path / "absent")
    model = load_model(file)
    give_back_weights(model.state_dict().values())
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_weights_outside_of_files_are_left_alone():
    weights = torch.ones(1 << 18)
    give_back_weights([weights])
    assert weights.sum() == 1 << 18
