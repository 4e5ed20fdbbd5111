"""The files of X as visitors add them: a second X takes the place of the first, a set grows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from markupsafe import Markup

from app.html.templates import render
from ktb.inputs.encoders.stokes import ANGLES


def newest_x(
    before: Sequence[str], given: Sequence[str], reads: Callable[[list[str]], bool]
) -> tuple[list[str], list[str]]:
    """The files that make up X, and those that gave way to them.

    Gradio adds uploaded files to those that are there. They stay together where both are one X, or may become
    one: pictures behind a polarizer, sine and cosine. Otherwise the added files replace the others.

    Args:
        before: the files that were there; given: those that are there now.
        reads: whether files can be read as one X.
    """
    given = list(dict.fromkeys(given))  # the same file may be chosen again
    added = [path for path in given if path not in before]
    kept = [path for path in given if path in before]
    if not added or not kept or _may_be_angles(given) or reads(given) or not reads(added):
        return given, []
    return added, kept


def _may_be_angles(paths: Sequence[str]) -> bool:
    """Whether the names are those of some of the four pictures behind a polarizer, such as glass_0."""
    found = [re.fullmatch(r"(.*?)(\d+)(\D*)", Path(path).stem) for path in paths]
    angles = [int(one[2]) for one in found if one]
    others = {(one[1], one[3]) for one in found if one}
    return len(angles) == len(paths) == len({*angles} & {*ANGLES}) and len(others) == 1


def replaced_note(replaced: Sequence[str], files: Sequence[str]) -> Markup:
    """Which files took the place of which."""
    old, new = (", ".join(Path(path).name for path in some) for some in (replaced, files))
    verb = "takes" if len(files) == 1 else "take"
    text = f"{new} {verb} the place of {old}: a run has one X. Choose the files of a set together."
    return render("replaced", text=text)
