"""`python -m ktb push`: publish a model on the Hugging Face hub."""

from typing import Annotated

import typer

from ktb.cli.models import located


def push(
    model: Annotated[str, typer.Argument(metavar="FILE", help="A model file, or a name or address.")],
    repo: Annotated[str, typer.Argument(metavar="ORG/NAME", help="The repository; created if necessary.")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    license: Annotated[
        str | None, typer.Option(help="Licence key of the hub, such as apache-2.0; by default the card's.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="Commit message.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be uploaded, without network access.")
    ] = False,
) -> None:
    """Upload a model and a README from its card to the Hugging Face hub.

    push run/model.safetensors ORG/NAME --dry-run

    The token is that of `hf auth login`, or HF_TOKEN. Others load it as hf://ORG/NAME.
    """
    path = located(model)

    from ktb.checkpoints.card import UNKNOWN_LICENSE
    from ktb.checkpoints.push import push_to_hub

    upload = push_to_hub(path, repo, private=private, license=license, message=message, dry_run=dry_run)
    for name, (size, sha256) in upload.files.items():
        typer.echo(f"{'would upload' if dry_run else 'uploaded'} {name}, {size:,} bytes, sha256 {sha256}")
    if upload.license == UNKNOWN_LICENSE:
        typer.echo("Warning: the licence is unknown, which the card states; give --license.", err=True)
    if upload.is_of_the_authors:
        typer.echo(
            "Warning: these are the authors' weights; publish them only with their permission.", err=True
        )
    if dry_run:
        typer.echo(f"to {upload.address}; README.md:\n\n{upload.readme}")
    else:
        typer.echo(f"see {upload.url}; load it as {upload.address}")
