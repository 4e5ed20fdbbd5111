"""The Space on the Hugging Face hub: `python -m app.space push ORG/NAME [--dry-run]`."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ktb.cli_options import user_errors

ROOT = Path(__file__).resolve().parents[1]
CODE = ("app", "ktb")
PICKED = (
    "app.py",
    "requirements.txt",
    "packages.txt",
    "README.md",
    "LICENSE",
    "docs/*.md",
    "assets/checkpoints/*.safetensors",
    "assets/checkpoints/*.md",
    "assets/examples/*.png",
)
"""What is uploaded beside all of `CODE`, and the pictures that a document shows."""
ZERO_GPU_TORCH = ",<2.12"
"""ZeroGPU knows no newer one (August 2026); elsewhere the page works with newer ones too."""
LARGE_BYTES = 10_000_000
"""Above this the hub wants a file through Xet or LFS, which `huggingface_hub` sees to by itself."""
MAX_BYTES = 1_000_000_000
"""What the hub keeps of a Space's files, all together; it says so itself when it refuses more."""
TOKENS = "https://huggingface.co/settings/tokens"
LINK = re.compile(r"!?\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<img [^>]*src=\"([^\"]+)\"")

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@cli.callback()
def _space() -> None:
    """Put the page into a Space of the Hugging Face hub."""


@cli.command()
@user_errors
def push(
    space: Annotated[str, typer.Argument(metavar="ORG/NAME", help="The Space; made if it is not there.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Build and list, upload nothing.")] = False,
    out: Annotated[Path | None, typer.Option(help="Build in this new folder and keep it.")] = None,
    private: Annotated[bool, typer.Option("--private", help="A new Space is for you only.")] = False,
    hardware: Annotated[
        str | None, typer.Option(help="Of a new Space, such as zero-a10g (ZeroGPU) or cpu-basic.")
    ] = None,
) -> None:
    """Build what a Space needs, list it, and upload it: no tests, no training, nothing that git ignores.

    The token comes from `hf auth login` or the variable HF_TOKEN. Files of the Space that are not in the
    list are removed from it.
    """
    check_name(space)
    with _folder(out) as folder:
        files = build(folder)
        for line in listing(folder, files):
            typer.echo(line)
        if dry_run:
            typer.echo(f"Nothing was uploaded{f'; the files are in {folder}' if out else ''}.")
            return
        typer.echo(f"Uploaded: {upload(folder, space, private, hardware)}")


def check_name(space: str) -> None:
    """ValueError for what is no name of a Space."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", space, re.ASCII):
        raise ValueError(f"{space!r} is no name of a Space; give ORG/NAME, such as my-lab/ktb.")


def build(folder: Path) -> list[Path]:
    """Fill an empty folder with exactly what is uploaded.

    Differences to the repository: `requirements.txt` asks for a torch that ZeroGPU knows, and links of
    documents that lead out of the Space are plain text.

    Returns:
        The files, relative to the folder, in the order of their names.

    Raises:
        ValueError: the folder holds something, a file is missing, or all is too large for a Space.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; give a folder that is not there yet.")
    chosen = sorted(_chosen())
    if (total := _size(ROOT, chosen)) > MAX_BYTES:
        raise ValueError(
            f"the Space would hold {total:,} bytes; the hub takes {MAX_BYTES:,}. Move large checkpoints out "
            f"of assets/checkpoints, to a model repository of the hub."
        )
    for path in chosen:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            text = (ROOT / path).read_text(encoding="utf-8")
            target.write_text(_without_dead_links(text, path, chosen), encoding="utf-8")
        elif path == Path("requirements.txt"):
            target.write_text(_for_zero_gpu((ROOT / path).read_text(encoding="utf-8")), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / path, target)
    return chosen


def listing(folder: Path, files: list[Path]) -> Iterator[str]:
    """Lines that tell of every file and its bytes, then of all together."""
    for path in files:
        size = _size(folder, [path])
        yield f"{size:>12,}  {path.as_posix()}{'  (through Xet)' if size > LARGE_BYTES else ''}"
    yield f"{_size(folder, files):>12,}  bytes in {len(files)} files"


def upload(folder: Path, space: str, private: bool = False, hardware: str | None = None) -> str:
    """Make the Space if it is not there and put the folder's files into it, in one commit; its address.

    Raises:
        ValueError: there is no token, it may not do this, or the hub cannot be reached; with the remedy.
    """
    from httpx import HTTPError  # with huggingface_hub half a second
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    api = HfApi(token=True)  # one that was saved or is in the environment; never an anonymous try
    try:
        made = api.create_repo(
            space, repo_type="space", space_sdk="gradio", space_hardware=hardware, exist_ok=True,
            private=private or None,
        )  # fmt: skip
        api.upload_folder(
            repo_id=space, repo_type="space", folder_path=folder, delete_patterns="*",
            commit_message="Upload the page",
        )  # fmt: skip
    except LocalTokenNotFoundError as error:
        raise ValueError(
            f"there is no token. Make one with write access at {TOKENS}, then run `hf auth login` or set "
            f"HF_TOKEN."
        ) from error
    except HfHubHTTPError as error:
        raise ValueError(_refusal(error.response.status_code, space, str(error))) from error
    except (HTTPError, OfflineModeIsEnabled) as error:
        raise ValueError(
            f"the hub cannot be reached ({error}). Look at the network and HF_HUB_OFFLINE, then push again."
        ) from error
    return str(made)


def _refusal(status: int, space: str, said: str) -> str:
    remedy = {
        401: f"the token is not valid (any more). Make one with write access at {TOKENS}, then run "
        f"`hf auth login`",
        402: "this hardware needs a paid plan. Give --hardware zero-a10g, or change the plan",
        403: f"the token may not write to {space}. Give it write access at {TOKENS}, or take a name of yours",
        404: f"there is no {space.split('/', maxsplit=1)[0]}, or the token does not see it. Look at the name",
    }
    return f"{remedy.get(status, 'the hub refuses it')}. The hub says: {said.strip()}"


def _chosen() -> set[Path]:
    found = {
        path.relative_to(ROOT)
        for part in CODE
        for path in (ROOT / part).rglob("*")
        if path.is_file() and not _is_leftover(path.relative_to(ROOT))
    }
    for pattern in PICKED:
        matching = {path.relative_to(ROOT) for path in ROOT.glob(pattern)}
        if not matching:
            raise ValueError(f"{ROOT / pattern} is missing; push from a whole checkout.")
        found |= matching
    return found | {picture for path in found if path.suffix == ".md" for picture in _pictures(path)}


def _is_leftover(path: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    return hidden or path.suffix in (".pyc", ".pyi")


def _pictures(document: Path) -> Iterator[Path]:
    """Of this repository, that a document shows."""
    for targets in PICTURE.findall((ROOT / document).read_text(encoding="utf-8")):
        if path := _linked(document, "".join(targets)):
            yield path


def _linked(document: Path, target: str) -> Path | None:
    """The file of this repository that a document links, None for an address or a place in itself."""
    name = target.partition("#")[0]
    if not name or "://" in name or name.startswith("mailto:"):
        return None
    return (ROOT / document.parent / name).resolve().relative_to(ROOT)


def _without_dead_links(text: str, document: Path, files: list[Path]) -> str:
    def kept(link: re.Match) -> str:
        path = _linked(document, link["target"])
        return link[0] if path is None or path in files else link["text"]

    return LINK.sub(kept, text)


def _for_zero_gpu(requirements: str) -> str:
    asked = re.compile(r"^torch[<>=~][^\s#;]+", re.MULTILINE)
    capped, changed = asked.subn(lambda found: found[0] + ZERO_GPU_TORCH, requirements)
    assert changed == 1, "requirements.txt asks for torch once"
    return capped


def _size(folder: Path, files: list[Path]) -> int:
    return sum((folder / path).stat().st_size for path in files)


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="ktb-space-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    cli()
