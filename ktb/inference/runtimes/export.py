"""Export of a network as an OpenVINO or ONNX graph, whose files run without this library."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import zlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import torch

from ktb.config import BRANCHES
from ktb.inference.runtimes.graph import INPUTS, GraphModule, output_names
from ktb.modeling.model import KTB, MIN_SIDE

if TYPE_CHECKING:
    import openvino
    from torch.export import ExportedProgram

Format = Literal["openvino", "onnx"]
DESCRIPTION = "model.json"
FORMAT_VERSION = "ktb-graph-1"
X86 = ("x86_64", "AMD64")
LARGE = 3e38
"""A bound just below the largest number of both float32 and bfloat16."""
PACKAGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"openvino": ("openvino",), "onnx": ("onnx", "onnxscript", "onnxruntime")}
)
"""Packages required to export and run each format."""
MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "logits_fused": "logits of the fused branch, at a quarter of the size: upsample bilinearly, argmax; "
        "class probabilities are softmax(logits / temperature of the branch)",
        "logits_rgb": "logits of the RGB head, likewise",
        "logits_x": "logits of the X head, likewise",
        "pooled": "per stream, rgb first, mean of the level's tokens over the positions",
        "prompts": "per stream and token, norm of the prompts' change divided by that of the token",
        "query": "queries of the fusion's attention: heads, positions row by row, channels",
        "key": "keys: heads, points (rgb-led ones first), channels",
        "sampling_points": "(y, x) of the points per group, -1..1 with corners aligned",
        "sampling_offsets": "(y, x) offsets from the regular grid, before clamping to -1..1",
        "modality_weights": "weight of rgb and x at each point; they sum to 1",
        "attended_norm": "norm of the attended features at each position",
        "context_norm": "norm of the context features at each position",
        "residual_norm": "norm of the mean of both streams at each position",
    }
)


def require_packages(format: Format) -> None:
    """Raise a ValueError with the install command if a package of this format is missing."""
    if missing := [name for name in PACKAGES[format] if find_spec(name) is None]:
        raise ValueError(
            f"{format} needs {', '.join(missing)}: run `pip install {' '.join(missing)}`, or choose the "
            f"runtime eager."
        )


def export_graph(
    model: KTB, format: Format, size_hw: tuple[int, int], folder: Path, any_batch: bool = True
) -> list[Path]:
    """Export the graph of a model for images of one size, with a description in model.json.

    Args:
        model: the model to export, with its current weights.
        format: "openvino" (model.xml, model.bin) or "onnx" (model.onnx, and model.onnx.data if it is large).
        size_hw: (height, width) of the network's inputs; each at least 32.
        folder: created if it does not exist; files of these names are overwritten.
        any_batch: whether the graph accepts any batch size; a batch size of one is exported faster.

    Raises:
        ValueError: the size is too small, or a package is not installed.
        OSError: the folder cannot be written.
    """
    require_packages(format)
    if min(size_hw) < MIN_SIDE:
        raise ValueError(f"the size is {size_hw[0]}x{size_hw[1]}; the network needs at least {MIN_SIDE}.")
    folder.mkdir(parents=True, exist_ok=True)
    was_training = model.training
    model.eval()
    try:
        WRITERS[format](model, _program(model, size_hw, any_batch), folder)
    finally:
        model.train(was_training)
    files = sorted(file for file in folder.glob("model.*") if file.name != DESCRIPTION)
    text = json.dumps(_description(model, format, size_hw, any_batch, files), indent=1)
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    return [*files, folder / DESCRIPTION]


def checksum(file: Path) -> int:
    """CRC-32 checksum of a file."""
    found = 0
    with file.open("rb") as opened:
        while part := opened.read(1 << 22):
            found = zlib.crc32(part, found)
    return found


def versions(format: Format) -> dict[str, str]:
    """Versions of the packages that affect a graph of this format."""
    names = ("torch", *PACKAGES[format])
    return {name: importlib.metadata.version(name) for name in names}


def _program(model: KTB, size_hw: tuple[int, int], any_batch: bool) -> ExportedProgram:
    from torch.export import Dim, export  # takes a second to import

    samples = 2 if any_batch else 1  # torch.export specialises a batch of one
    device = next(model.parameters()).device
    image = torch.zeros(samples, 3, *size_hw, device=device)
    keep = torch.ones(samples, 2, device=device)
    batch = {0: Dim("batch", min=1, max=4096)} if any_batch else {}
    with torch.no_grad():
        program = export(GraphModule(model), (image, image.clone(), keep), dynamic_shapes=(batch,) * 3)
    _drop_whole_slices(program)
    return program


def _drop_whole_slices(program: ExportedProgram) -> None:
    """Remove `tensor[:]`, which torch 2.8 leaves in a program and OpenVINO cannot convert."""
    graph = program.graph_module.graph
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.slice.Tensor):
        if len(node.args) == 1 and not node.kwargs:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    program.graph_module.recompile()


def _write_openvino(model: KTB, program: ExportedProgram, folder: Path) -> None:
    import openvino

    graph = openvino.convert_model(program)
    for ports, names in ((graph.inputs, INPUTS), (graph.outputs, output_names(model))):
        assert len(ports) == len(names), f"{len(ports)} ports, {len(names)} names"
        for port, name in zip(ports, names):
            port.get_tensor().set_names({name})
            port.node.set_friendly_name(name)
    if platform.machine() in X86:
        _keep_off_mlas(graph)
    openvino.save_model(graph, folder / "model.xml", compress_to_fp16=False)


def _keep_off_mlas(graph: openvino.Model) -> None:
    """Append a clamp without effect to every product of tokens with weights.

    OpenVINO runs a product followed only by its bias in MLAS, and one followed by an elementwise operation in
    oneDNN, which fuses both and is faster with AVX-512.
    """
    from openvino import opset13

    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul" or not _is_constant(node.input_value(1).get_node()):
            continue
        if len(users := _users(node)) == 1 and _is_bias(users[0]):
            node = users[0]
        if {user.get_type_name() for user in _users(node)} <= {"Gelu", "Relu"}:
            continue
        ports = node.output(0).get_target_inputs()
        clamp = opset13.clamp(node.output(0), -LARGE, LARGE)
        for port in ports:
            port.replace_source_output(clamp.output(0))


def _users(node: openvino.Node) -> list[openvino.Node]:
    return [port.get_node() for port in node.output(0).get_target_inputs()]


def _is_bias(node: openvino.Node) -> bool:
    sources = (node.input_value(i).get_node() for i in range(node.get_input_size()))
    return node.get_type_name() == "Add" and any(map(_is_constant, sources))


def _is_constant(node: openvino.Node) -> bool:
    while node.get_type_name() in ("Convert", "Reshape", "Transpose"):
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Constant"


def _write_onnx(model: KTB, program: ExportedProgram, folder: Path) -> None:
    names = list(output_names(model))
    exported = torch.onnx.export(
        program, dynamo=True, input_names=list(INPUTS), output_names=names, verbose=False
    )
    exported.save(folder / "model.onnx")


WRITERS: Mapping[str, Callable[[KTB, ExportedProgram, Path], None]] = MappingProxyType(
    {"openvino": _write_openvino, "onnx": _write_onnx}
)


def _description(
    model: KTB, format: Format, size_hw: tuple[int, int], any_batch: bool, files: list[Path]
) -> dict[str, Any]:
    config, inputs = model.config, model.config.inputs
    batch = "any" if any_batch else 1
    image = [batch, 3, *size_hw]
    return {
        "format": FORMAT_VERSION,
        "model": config.name,
        "dataset": config.dataset,
        "files": {file.name: {"bytes": file.stat().st_size, "crc32": checksum(file)} for file in files},
        "versions": versions(format),
        "inputs": {
            "rgb": {
                "shape": image,
                "what": "RGB image, RGB order, divided by 255, minus mean, divided by std",
                "mean": inputs.rgb_mean,
                "std": inputs.rgb_std,
            },
            "modal_x": {
                "shape": image,
                "what": "X on the scale 0..1, three channels, minus mean, divided by std",
                "modality": inputs.modality,
                "encoding": inputs.encoding,
                "mean": inputs.x_mean,
                "std": inputs.x_std,
            },
            "keep": {
                "shape": [batch, 2],
                "what": "1 for a sensor that is there, 0 for one that is missing: rgb, x",
            },
        },
        "temperatures": dict(zip(BRANCHES, config.temperatures)),
        "outputs": {name: MEANINGS[name.split(".")[0]] for name in output_names(model)},
        "size": {"height": size_hw[0], "width": size_hw[1]},
        "classes": config.classes,
        "palette": config.palette,
    }
