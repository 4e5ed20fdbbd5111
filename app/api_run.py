"""Endpoints of the HTTP API: X as it is read, a run, its files, and the checkpoints."""

from __future__ import annotations

from app.answers import as_base64
from app.api_calls import Calls, as_text, options_of
from app.export import export_file
from app.panels.x_input import network_picture
from ktb.outputs import png_bytes, result_files


class RunApi:
    """Endpoints for one pair."""

    def __init__(self, calls: Calls):
        self.calls = calls

    @as_text
    def segment(self, rgb: str | None, x: list[str] | None, model: str, options: dict | None, x_source: str):
        """Masks of one pair: class tables, and each file of the ZIP as base64 under `files`.

        Args:
            rgb: the photograph. x: the files that make up X. model: one of /models.
            options: what is known about X, such as {"unit": "mm"}; see `ktb.modalities.XOptions`.
            x_source: "file", "none" (the photograph alone) or "estimate" (depth from the photograph).
        """
        with self.calls.run(rgb, x, model, options, x_source) as result:
            files = result_files(result.rgb, result.prediction)
            return result.prediction.summary() | {
                "files": {name: as_base64(data) for name, data in files.items()}
            }

    @as_text
    def read_x(self, rgb: str | None, x: list[str] | None, model: str, options: dict | None):
        """What a checkpoint gets of an X input, without running it.

        Returns an object: modality, encoding, summary, facts, warnings, size_hw, and as base64 PNG `preview`
        (for people) and `network` (as the network sees it). rgb may be left out: X keeps its own size.
        """
        with self.calls.uploads(rgb, x):
            if not x:
                raise ValueError("the X image is missing. Upload at least one file.")
            reading = self.calls.service.read_x(x, rgb, model, options_of(options)).reading
        pictures = {"preview": reading.preview, "network": network_picture(reading)}
        return {
            "modality": reading.modality,
            "encoding": reading.encoding,
            "origin": reading.origin,
            "summary": reading.summary,
            "facts": dict(reading.facts),
            "warnings": list(reading.warnings),
            "size_hw": list(reading.image.shape[:2]),
            **{name: as_base64(png_bytes(image, model)) for name, image in pictures.items()},
        }

    @as_text
    def export(
        self, rgb: str | None, x: list[str] | None, model: str, kind: str, options: dict | None, x_source: str
    ):
        """A run as one file.

        kind: "svg", "pdf", "png" (figure), "npz" (arrays), "html" (report), "zip" (masks). Returns an
        object: name, mime, and data, the file's contents as base64.
        """
        with self.calls.run(rgb, x, model, options, x_source) as result:
            said = {"model": model, "x_source": x_source, "x": options_of(options).to_dict()}
            name, mime, data = export_file(result, kind, self.calls.service.card(model), said)
            return {"name": name, "mime": mime, "data": as_base64(data)}

    @as_text
    def models(self):
        """The checkpoints, the default first: a list of {name, classes, x: {modality, encoding}, card}."""
        found = []
        for name in self.calls.service.models:
            config = self.calls.service.config(name)
            found.append(
                {
                    "name": name,
                    "classes": list(config.classes),
                    "x": {"modality": config.inputs.modality, "encoding": config.inputs.encoding},
                    "card": dict(self.calls.service.card(name)),
                }
            )
        return found
