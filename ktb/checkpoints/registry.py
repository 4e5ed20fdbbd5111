"""Names of models: those that ship with the project, and the file behind every name, path or address."""

from __future__ import annotations

import os
from pathlib import Path

from ktb.checkpoints.published import how_to_get, published_model, zoo_file
from ktb.checkpoints.remote import Progress, download_from_hub, parse_address
from ktb.utils.files import require_sha256, shipped

DEFAULT_MODEL = "ktb-lite-nyuv2-depth"
BUILT_IN_FOLDER = shipped("checkpoints")


def built_in_models() -> dict[str, Path]:
    """Name and file of every checkpoint that ships with the project."""
    return {path.stem: path for path in sorted(BUILT_IN_FOLDER.glob("*.safetensors"))}


def resolve(name_or_file: str | Path, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """The file behind a name, a path or an address; arguments and errors as for `load_model`."""
    name = str(name_or_file)
    if (address := parse_address(name, sha256)) is not None:
        return download_from_hub(address, progress)
    path = _on_this_machine(name)
    if sha256 is not None:
        require_sha256(path, sha256, name)
    return path


def _on_this_machine(name: str) -> Path:
    """The file behind a name or a path; ValueError listing what could be given if there is none."""
    built_in = built_in_models()
    if found := built_in.get(name) or zoo_file(name):
        return found
    if os.path.isfile(name):  # unlike Path's, never raises: a name may be anything
        return Path(name)
    if published_model(name) is not None:
        raise ValueError(f"{name!r} is a model of the authors that is not on this machine. {how_to_get()}")
    raise ValueError(
        f"there is no model or file {name!r}. Built-in models: {', '.join(built_in) or 'none'}. Or give the "
        f"path of a .safetensors or official .pth file, hf://ORG/NAME@REVISION, or a "
        f"name that `python -m ktb zoo` lists."
    )


def short_name(name_or_file: str | Path, path: Path) -> str:
    """What a model that `resolve` found at a path is called: for lists, without folders and suffix."""
    name = str(name_or_file)
    address = parse_address(name) if name.startswith("hf:") else None  # whose files have all the same name
    return path.stem if address is None else address.short_name
