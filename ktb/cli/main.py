"""Command line: `python -m ktb --help`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ktb.cli.bench import bench
from ktb.cli.encode import encode
from ktb.cli.export import export
from ktb.cli.faithfulness import faithfulness
from ktb.cli.models import located
from ktb.cli.options import takes_x_flags, user_errors
from ktb.cli.predict import predict
from ktb.cli.push import push
from ktb.cli.video import sequence
from ktb.cli.zoo import zoo_app

# Commands import the library when they run, because torch and timm take seconds to import.

app = typer.Typer(
    help="KTB: RGB-X semantic segmentation with inspectable sensor fusion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ModelArgument = Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="Name, file or hf://ORG/NAME")]


app.command()(user_errors(takes_x_flags(predict)))
app.command()(user_errors(takes_x_flags(encode)))
app.command()(user_errors(takes_x_flags(sequence)))
app.command()(user_errors(export))
app.command()(user_errors(bench))
app.command()(user_errors(takes_x_flags(faithfulness)))
app.command()(user_errors(push))
app.add_typer(zoo_app, name="zoo")


@app.command()
@user_errors
def models() -> None:
    """List the built-in models and the imported models of the authors (`zoo` lists all of them)."""
    from ktb.checkpoints.metadata import parameter_count, read_header
    from ktb.checkpoints.registry import DEFAULT_MODEL, built_in_models, zoo_files
    from ktb.utils.text import rounded_down

    for name, path in (built_in_models() | zoo_files()).items():
        config, card = read_header(path)
        score = _fused_miou(card)
        columns = [
            name,
            config.dataset or "unnamed dataset",
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
@user_errors
def info(model: ModelArgument) -> None:
    """Show the configuration and card of a built-in model, a KTB file or an official .pth file."""
    from ktb.checkpoints.load import load_model
    from ktb.checkpoints.metadata import is_adapter_file, read_header
    from ktb.cli.describe import adapter_lines, config_lines, model_lines, value_lines

    if is_adapter_file(path := located(model)):
        config, card = read_header(path)
        contents = adapter_lines(path)
    else:
        loaded = load_model(path, "cpu")
        config, card, contents = loaded.config, loaded.card, model_lines(loaded)
    _echo_all(config_lines(config))
    _echo_all(contents)
    typer.echo("inputs")
    _echo_all(value_lines(config.to_dict()["inputs"], indent="  "))
    typer.echo(f"class names       {', '.join(config.classes)}")
    typer.echo("card" if card else "card              none")
    _echo_all(value_lines(card, indent="  "))


@app.command()
@user_errors
def extract(
    source: ModelArgument,
    target: Annotated[Path, typer.Argument(metavar="OUT_ADAPTER.safetensors", help="The file to write.")],
    half: Annotated[bool, typer.Option("--half", help="Store float16, half the size.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT_ADAPTER if it exists.")] = False,
) -> None:
    """Save a model without its pretrained backbone, which the adapter file identifies by SHA-256."""
    _require_new_file(target, force)

    from ktb.checkpoints.adapters import save_adapter
    from ktb.checkpoints.load import load_model

    model = load_model(located(source), "cpu")
    save_adapter(target, model, model.card, _stored_type(half))
    _echo_written(target)


@app.command()
@user_errors
def merge(
    source: Annotated[Path, typer.Argument(metavar="IN_ADAPTER.safetensors", help="An adapter file.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="The file to write.")],
    backbone: Annotated[
        Path | None,
        typer.Option(help="A whole model on the same backbone, or pretrained weights; by default timm's."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store float16, half the size.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    """Merge an adapter file with its pretrained backbone into a whole model file."""
    _require_new_file(target, force)

    from ktb.checkpoints.adapters import load_adapter
    from ktb.checkpoints.load import save_model

    model = load_adapter(source, backbone or True, "cpu")
    save_model(target, model, model.card, _stored_type(half))
    _echo_written(target)


@app.command()
@user_errors
def import_official(
    source: Annotated[Path, typer.Argument(metavar="IN.pth", help="A checkpoint released by the authors.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="The file to write.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; by default that of IN.")] = None,
    dataset: Annotated[str | None, typer.Option(help='Dataset instead of the guess; "" for none.')] = None,
    modality: Annotated[str | None, typer.Option(help="Modality of X instead of the guess.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    """Convert an official checkpoint to KTB's format, with configuration and card."""
    _require_new_file(target, force)

    from ktb.checkpoints.load import load_official, save_model
    from ktb.cli.describe import config_lines, model_lines

    model = load_official(source, name, dataset=dataset, modality=modality)
    _echo_all(config_lines(model.config))
    _echo_all(model_lines(model))
    if dataset is None or modality is None:
        typer.echo("The dataset and the modality of X are guessed from the number of classes; the options")
        typer.echo("--dataset and --modality override them.")
    save_model(target, model, model.card)
    _echo_written(target)


def _require_new_file(target: Path, force: bool) -> None:
    if target.suffix != ".safetensors":
        raise ValueError(f"{target}: the name of the new file must end in .safetensors.")
    if not target.parent.is_dir():
        raise ValueError(f"the folder {target.parent} does not exist; create it first.")
    if target.is_dir() or (target.exists() and not force):
        remedy = "choose another name" if target.is_dir() else "add --force to overwrite it"
        raise ValueError(f"{target} exists already; {remedy}.")


def _stored_type(half: bool) -> Any:
    import torch

    return torch.float16 if half else torch.float32


def _echo_written(target: Path) -> None:
    typer.echo(f"wrote {target} ({target.stat().st_size / 1e6:,.1f} MB)")


def _fused_miou(card: Mapping[str, Any]) -> float | None:
    """The fused mIoU of a card in percent; None for anything but a number."""
    value: Any = card
    for key in ("figures", "fused", "miou"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def _echo_all(lines: Iterator[str]) -> None:
    for line in lines:
        typer.echo(line)
