"""Results of single pairs in a folder, from which a stopped study resumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ktb.analysis.faithfulness.curves import Curves
from ktb.analysis.faithfulness.study import ImageMaps
from ktb.inference.prediction import Drop
from ktb.utils.files import write_atomically

STUDY = "study.json"


class KeptResults:
    """Maps and curves of pairs by name; NAME.npz and NAME.json in the folder.

    Args:
        folder: None keeps nothing.
        study: what the results depend on, such as checkpoint and inputs, JSON-compatible.

    Raises:
        ValueError: the folder has results of another study.
    """

    def __init__(self, folder: Path | None, study: Mapping[str, object]) -> None:
        self.folder = folder
        if folder is None:
            return
        text, note = json.dumps(study, indent=2, sort_keys=True), folder / STUDY
        if note.exists() and note.read_text(encoding="utf-8") != text:
            raise ValueError(f"{folder} has results of another study, see {note}: give another folder.")
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(text, encoding="utf-8")

    def maps(self, name: str, measure: Callable[[], ImageMaps]) -> ImageMaps:
        """The kept maps of a pair, or those of `measure`, which are then kept."""
        file = self._file(name, ".npz")
        if file is None:
            return measure()
        if file.exists():
            with np.load(file) as arrays:
                return ImageMaps.from_arrays({array: arrays[array] for array in arrays})
        found = measure()
        write_atomically(file, lambda temporary: _save(temporary, found))
        return found

    def curves(self, name: str, measure: Callable[[], dict[Drop, Curves]]) -> dict[Drop, Curves]:
        """The kept curves of a pair, or those of `measure`, which are then kept."""
        file = self._file(name, ".json")
        if file is None:
            return measure()
        if file.exists():
            return json.loads(file.read_text(encoding="utf-8"))
        found = measure()
        write_atomically(file, lambda temporary: temporary.write_text(json.dumps(found), encoding="utf-8"))
        return found

    def _file(self, name: str, suffix: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{name.replace('/', '__')}{suffix}"


def _save(file: Path, maps: ImageMaps) -> None:
    with file.open("wb") as stream:  # given a name, numpy would append .npz
        np.savez(stream, **maps.to_arrays())
