"""`python -m ktb zoo`: list and import the authors' published models."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ktb.cli.options import user_errors

if TYPE_CHECKING:
    from ktb.checkpoints.importing import Outcome

zoo_app = typer.Typer(
    help="The twelve models that the authors published: list, import, fetch.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)
Force = Annotated[bool, typer.Option("--force", help="Replace models that are imported already.")]


@zoo_app.callback()
@user_errors
def zoo(context: typer.Context) -> None:
    """List the twelve published models, their published mIoU, and which are on this machine."""
    if context.invoked_subcommand is not None:
        return

    from ktb.checkpoints.registry import PROTOCOL, PUBLISHED, how_to_get, zoo_files

    here = zoo_files()
    heads = ("model", "dataset", "X", "backbone", "classes", "published mIoU", "here")
    rows = [
        (
            model.name,
            model.title,
            model.modality,
            f"Swin-{model.size.upper()}",
            str(model.num_classes),
            f"{model.miou}{' *' if model.remark else ''}",
            f"{here[model.name].stat().st_size / 1e6:,.1f} MB" if model.name in here else "no",
        )
        for model in PUBLISHED
    ]
    for line in _table([heads, *rows]):
        typer.echo(line)
    remarks = "; ".join(sorted({model.remark for model in PUBLISHED if model.remark}))
    typer.echo(f"\n{PROTOCOL}\n* {remarks}")
    typer.echo(f"{len(here)} of {len(PUBLISHED)} are here. {how_to_get()}")


@zoo_app.command()
@user_errors
def add(
    place: Annotated[Path, typer.Argument(metavar="FILE_OR_FOLDER", help="The download; also zip archives.")],
    modality: Annotated[
        str | None, typer.Option(help="X of one MCubeS file whose name does not say it: nir, dolp or aolp.")
    ] = None,
    force: Force = False,
) -> None:
    """Import downloaded official files and identify their models.

    zoo add Downloads/KTB
    """
    from ktb.checkpoints.importing import add_all

    if _tell(add_all(place, modality, force, _tell_start)):
        raise typer.Exit(1)


@zoo_app.command()
@user_errors
def fetch(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORD]...", help="Only files whose path contains one of these."),
    ] = None,
    force: Force = False,
) -> None:
    """Try to download the authors' files from their Drive folder, and import them (needs gdown).

    zoo fetch nyu mfnet

    Files that fail can be downloaded in a browser and imported with `zoo add`.
    """
    from ktb.checkpoints.importing import fetch_all
    from ktb.checkpoints.importing.fetch import MANUAL

    if _tell(fetch_all(words or (), force, started=_tell_start)):
        typer.echo(f"Some files failed. Run the same command again to retry them. {MANUAL}", err=True)
        raise typer.Exit(1)


def _tell_start(source: str) -> None:
    typer.echo(f"importing {source} …", err=True)


def _tell(outcomes: Iterable["Outcome"]) -> int:
    """Print a line for each outcome as it arrives; returns the number of failures."""
    failed = 0
    for outcome in outcomes:
        is_failure = outcome.status == "failed"
        failed += is_failure
        name = f"{outcome.name}: " if outcome.name else ""
        typer.echo(f"{outcome.status}: {outcome.source}: {name}{outcome.message}", err=is_failure)
    return failed


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]
