"""`python -m ktb export`: export a model as a graph for deployment."""

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from ktb.cli.models import located


def export(
    out: Annotated[Path, typer.Option(help="Folder for the files.")],
    size: Annotated[
        str, typer.Option(metavar="HEIGHTxWIDTH", help="Size of the network's inputs, such as 480x640.")
    ],
    format: Annotated[Literal["onnx", "openvino"], typer.Option(help="Format of the graph.")] = "onnx",
    model: Annotated[str | None, typer.Option(help="Name, file or hf://…; see `models`.")] = None,
    batch: Annotated[Literal["any", "one"], typer.Option(help="Batch size; one is exported faster.")] = "any",
) -> None:
    """Export a model as an ONNX or OpenVINO graph for images of one size, with a description in model.json.

    export --format onnx --size 480x640 --out graph

    model.json describes the inputs (normalisation, the mask for a missing sensor), the outputs (logits of the
    three heads, traces of every fusion level), and the classes with their colours.
    """
    match = re.fullmatch(r"(\d{1,5})\s*[xX]\s*(\d{1,5})", size.strip())
    if not match:
        raise ValueError(f"--size {size!r}: give height and width in pixels, such as 480x640")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder.")

    from ktb.checkpoints.load import load_model
    from ktb.inference.runtimes.export import export_graph, require_packages

    require_packages(format)
    size_hw = int(match[1]), int(match[2])
    for path in export_graph(load_model(located(model), "cpu"), format, size_hw, out, batch == "any"):
        typer.echo(f"wrote {path} ({path.stat().st_size / 1e6:,.1f} MB)")
