"""Exported graphs and the comparison of runtimes."""

from __future__ import annotations

import dataclasses
import json
import shutil

import torch

from helpers.models import pair
from ktb.config import BRANCHES
from ktb.inference.runtimes.export import DESCRIPTION, checksum, export_graph

TOLERANCE = 1e-4


def export_here(model, format, size_hw, folder):
    """What a process of its own does, without the seconds that one takes to start; the model stays as is."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export_graph(model, format, size_hw, folder, any_batch=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(type(parameter) is torch.nn.Parameter for parameter in model.parameters())
    with torch.inference_mode():
        assert torch.isfinite(model(*pair(1, *size_hw)).fused).all()


def copy_of(graph):
    """An export that is a graph which was made before."""
    return lambda model, format, size_hw, folder: shutil.copytree(graph, folder, dirs_exist_ok=True)


def converted(graph):
    """An export that OpenVINO makes of an ONNX graph, sooner than of the network."""

    def convert(model, format, size_hw, folder):
        import openvino

        openvino.save_model(
            openvino.convert_model(graph / "model.onnx"), folder / "model.xml", compress_to_fp16=False
        )
        files = {p.name: {"bytes": p.stat().st_size, "crc32": checksum(p)} for p in folder.glob("model.*")}
        (folder / DESCRIPTION).write_text(json.dumps({"files": files}))

    return convert


def assert_same(ours, theirs, tolerance=TOLERANCE):
    """Shape and dtype are equal, and all values within the tolerance."""
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert (ours - theirs).abs().max() <= tolerance


def assert_same_outputs(ours, theirs):
    """Logits, trace and prompts of two outputs are the same within the tolerance."""
    for branch in BRANCHES:
        assert_same(getattr(ours, branch), getattr(theirs, branch))
    for name in ("trace", "prompts"):
        assert (getattr(ours, name) is None) == (getattr(theirs, name) is None), name
    for level, other in zip(ours.trace or (), theirs.trace or ()):
        for field in dataclasses.fields(level):
            value, wanted = getattr(level, field.name), getattr(other, field.name)
            if isinstance(wanted, torch.Tensor):
                assert_same(value, wanted)
            else:
                assert value == wanted, field.name
    for change, wanted in zip(ours.prompts or (), theirs.prompts or ()):
        assert_same(change / (1 + wanted), wanted / (1 + wanted))  # of a zero token it is beyond measure
