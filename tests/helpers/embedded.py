"""The embedded models with a small input size: what the page shows of a run does not depend on the size."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path

from app.service import Service
from ktb import Predictor, built_in_models, load_model, save_model

SHORT_SIDE = 128
_FOLDER = tempfile.TemporaryDirectory(prefix="ktb-embedded-", ignore_cleanup_errors=True)


@functools.cache
def small_files() -> dict[str, Path]:
    """Copies of the embedded models by name, with `SHORT_SIDE`; written once per process."""
    files = {}
    for name, path in built_in_models().items():
        model = load_model(path)
        inputs = dataclasses.replace(model.config.inputs, short_side=SHORT_SIDE)
        model.config = dataclasses.replace(model.config, inputs=inputs)
        files[name] = Path(_FOLDER.name) / path.name
        save_model(files[name], model, model.card)
    return files


def small_service() -> Service:
    """A service whose embedded models are the small copies."""
    service = Service()
    service._files = dict(small_files())  # given as models of its own, they would be its default
    return service


@functools.cache
def small_predictor(name: str) -> Predictor:
    """The predictor of a small copy, one per process; tests must leave it as it is."""
    return Predictor(load_model(small_files()[name]))
