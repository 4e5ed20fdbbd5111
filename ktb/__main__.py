"""Command line: `python -m ktb --help`."""

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

# torch and timm take seconds to import, so everything of the library is imported inside the commands.

app = typer.Typer(
    help="KTB: RGB+X semantic segmentation that shows how two sensors are combined.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ModelArgument = Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="Built-in name, or a model file.")]


def _user_errors(command: Callable) -> Callable:
    """What the user can mend ends as one message on stderr and exit code 2."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (ValueError, OSError) as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(2) from None

    return guarded


@app.command()
@_user_errors
def predict(
    rgb: Annotated[Path, typer.Option(help="The photograph.")],
    x: Annotated[Path, typer.Option(help="The X input: depth, thermal, ..., aligned with the photograph.")],
    out: Annotated[Path, typer.Option(help="Folder for the label maps, masks, overlay and summary.")],
    model: Annotated[str | None, typer.Option(help="Built-in name or model file; see `models`.")] = None,
    unit: Annotated[str, typer.Option(help="Unit of a depth map: auto, mm, m, ...")] = "auto",
    short_side: Annotated[int | None, typer.Option(help="Shorter side in the network, pixels.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Segment one pair of images; print its classes and write the result's files."""
    from ktb.checkpoint import DEFAULT_MODEL, load_model
    from ktb.image_files import read_image_rgb, read_x
    from ktb.outputs import save_result
    from ktb.predictor import Predictor

    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder.")
    _require_device(device)
    photo, modal_x = read_image_rgb(rgb), read_x(x)
    predictor = Predictor(load_model(model or DEFAULT_MODEL, device), short_side)
    prediction = predictor(photo, modal_x, unit=unit, trace=False)
    typer.echo(f"{prediction.model}, {prediction.seconds:.2f} s on {prediction.device}")
    typer.echo(f"X: {prediction.x.summary}")
    rows = prediction.class_table()
    width = max(len("class"), *(len(row.name) for row in rows))
    typer.echo(f"{'class':<{width}}  share  confidence")
    for row in rows:
        typer.echo(f"{row.name:<{width}} {row.share:6.1%} {row.confidence:11.2f}")
    for path in save_result(out, photo, prediction):
        typer.echo(f"wrote {path}")


@app.command()
@_user_errors
def models() -> None:
    """List the built-in models."""
    from ktb.checkpoint import DEFAULT_MODEL, built_in_models, parameter_count, read_header
    from ktb.figures import rounded_down

    for name, path in built_in_models().items():
        config, card = read_header(path)
        score = _fused_miou(card)
        columns = [
            name,
            config.dataset or "unnamed data",
            config.inputs.modality,
            f"{config.num_classes} classes",
            f"{parameter_count(path):,} parameters",
            "fused mIoU not measured" if score is None else f"fused mIoU {rounded_down(score)}",
        ]
        typer.echo("  ".join(columns) + "  (default)" * (name == DEFAULT_MODEL))
    if not built_in_models():
        typer.echo(
            "No model is built in. Import one with: python -m ktb import-official IN.pth OUT.safetensors"
        )


@app.command()
@_user_errors
def info(model: ModelArgument) -> None:
    """Show the configuration and the card of a built-in model, one of our files, or an official .pth."""
    from ktb.checkpoint import load_model

    loaded = load_model(model)
    _echo_all(_described(loaded))
    typer.echo("inputs")
    _echo_all(_readable(loaded.config.to_dict()["inputs"], indent="  "))
    typer.echo(f"class names       {', '.join(loaded.config.classes)}")
    typer.echo("card" if loaded.card else "card              none")
    _echo_all(_readable(loaded.card, indent="  "))


@app.command()
@_user_errors
def import_official(
    source: Annotated[Path, typer.Argument(metavar="IN.pth", help="A checkpoint released by the authors.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="The file to write.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; by default that of IN.")] = None,
    dataset: Annotated[str | None, typer.Option(help='Data set instead of the guess; "" for none.')] = None,
    modality: Annotated[str | None, typer.Option(help="Modality of X instead of the guess.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    """Convert an official checkpoint to our format: strictly, with configuration and card."""
    if target.suffix != ".safetensors":
        raise ValueError(f"{target}: the name of the new file must end in .safetensors.")
    if not target.parent.is_dir():
        raise ValueError(f"the folder {target.parent} does not exist; make it first.")
    if target.is_dir() or (target.exists() and not force):
        remedy = "choose another name" if target.is_dir() else "add --force to replace it"
        raise ValueError(f"{target} exists already; {remedy}.")

    from ktb.checkpoint import load_official, save_model

    model = load_official(source, name, dataset=dataset, modality=modality)
    _echo_all(_described(model))
    if dataset is None or modality is None:
        typer.echo("The data set and the modality of X are guessed from the number of classes; the options")
        typer.echo("--dataset and --modality override them.")
    save_model(target, model, model.card)
    typer.echo(f"wrote {target}")


def _require_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except Exception as error:  # torch raises many types for unknown and absent devices
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {device!r} cannot be used here ({reason}); use cpu.") from error


def _described(model: Any) -> Iterator[str]:
    """What was built, a line per fact."""
    config = model.config
    backbone, fusion = config.backbone, config.fusion
    total = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for _, p in model.trainable_parameters())
    yield from _table(
        {
            "name": config.name,
            "data set": f"{config.dataset or 'unnamed'}, {config.num_classes} classes",
            "modality of X": config.inputs.modality,
            "backbone": {"swin": "Swin", "lite": "tf_efficientnet_lite0"}[backbone.kind],
            "feature widths": backbone.feature_dims,
        }
    )
    if backbone.kind == "swin":
        yield from _table(
            {"depths": backbone.depths, "heads": backbone.num_heads, "window": backbone.window_size}
        )
    yield from _table(
        {
            "adapter ranks": backbone.adapter_ranks,
            "MAPA ranks": fusion.mapa_ranks,
            "DSCF ranks": fusion.dscf_ranks,
            "DSCF heads M": fusion.num_heads,
            "DSCF groups G": fusion.groups,
            "head widths": f"{config.head_dims[0]} fused, {config.head_dims[1]} rgb, {config.head_dims[2]} x",
            "parameters": f"{total:,}, of which {trainable:,} train",
            "tensors": len(model.state_dict()),
        }
    )


def _table(facts: Mapping[str, Any]) -> Iterator[str]:
    for key, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
        yield f"{key:<17} {shown}"


def _readable(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Nested JSON values as indented lines."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{key}"
            yield from _readable(value, indent + "  ")
        else:
            yield f"{indent}{key}: {_in_one_line(value)}"


def _in_one_line(value: Any) -> str:
    if value is None or value in ({}, []):
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return " ".join(f"{key} {_in_one_line(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_one_line, value))
    return str(value)


def _fused_miou(card: Mapping[str, Any]) -> float | None:
    """The figure of a card in percent, whatever else the card may hold in its place."""
    value: Any = card
    for key in ("figures", "fused", "miou"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def _echo_all(lines: Iterator[str]) -> None:
    for line in lines:
        typer.echo(line)


if __name__ == "__main__":
    app(prog_name="python -m ktb")
