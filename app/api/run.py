"""Endpoints of the HTTP API: read X, run a pair, export files, list checkpoints."""

from __future__ import annotations

from functools import partial
from typing import get_args

from app.api.calls import Calls, as_text, options_of
from app.api.delivery import Delivery
from app.api.serialize import agreement_facts, brief, plain
from app.panels.x_input import network_picture
from app.results import Result
from app.service import XSource
from app.settings import Settings
from app.widgets.downloads import export_file, points_file
from ktb.analysis.agreement import disagreement_map
from ktb.inputs.alignment.files import read_alignment
from ktb.outputs.files import png_bytes, result_files
from ktb.outputs.layers import HEADS_DIFFER


def _files(result: Result, ply: bool) -> dict[str, bytes]:
    points = {"points.ply": points_file(result)} if ply else {}
    return result_files(result.rgb, result.prediction) | points


class RunApi:
    """Endpoints for one pair."""

    def __init__(self, calls: Calls):
        self.calls = calls

    @as_text
    def segment(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        options: dict | None,
        x_source: str,
        files: Delivery = "url",
        ply: bool = False,
    ):
        """Segment a pair: class tables, and each file of the ZIP under `files`.

        Args:
            rgb: the RGB image. x: the files that make up X. model: one of /models.
            options: how to read X, such as {"unit": "mm"}; see `ktb.inputs.XOptions`.
            x_source: "file", "none" (the RGB image alone) or "estimate" (depth from the RGB image).
            files: "url" (links, for ten minutes; the tables have the 25 largest classes of a head, all are in
                prediction.json), "inline" (base64) or "none".
            ply: whether `files` also has points.ply, depth as points in space; X must be depth in metres.
        """
        with self.calls.run(rgb, x, model, options, x_source, files) as (result, delivered):
            summary = result.prediction.summary()
            given = delivered.all(partial(_files, result, ply))
            return (brief(summary) if files == "url" else summary) | {"files": given}

    @as_text
    def read_x(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        options: dict | None,
        files: Delivery = "url",
    ):
        """Encode X for a checkpoint, without running it.

        Returns an object: modality, encoding, summary, facts, warnings, size_hw, and as PNG `preview` and
        `network` (the network's input). rgb may be left out: X keeps its own size.
        """
        with self.calls.uploads(files, rgb, x) as delivered:
            if not x:
                raise ValueError("the X image is missing. Upload at least one file.")
            reading = self.calls.service.read_x(x, rgb, model, options_of(options)).reading
            network = network_picture(reading)
            return {
                "modality": reading.modality,
                "encoding": reading.encoding,
                "origin": reading.origin,
                "summary": reading.summary,
                "facts": dict(reading.facts),
                "warnings": list(reading.warnings),
                "size_hw": list(reading.image.shape[:2]),
                "preview": delivered.one("preview.png", lambda: png_bytes(reading.preview, model)),
                "network": delivered.one("network.png", lambda: png_bytes(network, model)),
            }

    @as_text
    def align(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        options: dict | None,
        calibration: str | None = None,
        files: Delivery = "url",
    ):
        """Preview an alignment of X to the RGB image, estimated from their edges or read from a file.

        calibration: a file with a matrix or with two cameras (JSON, .npy or text), or nothing for an
        estimate. Returns an object: `improves` (false: there is no estimate better than none), `message`,
        `matrix` (3 x 3, from X's pixels (x, y, 1) to the RGB image's, or null), `options`: the options
        given with the alignment added, for the other endpoints; and as PNG `before` and `after`, X's edges
        over the RGB image (null where there is no overlay).
        """
        with self.calls.uploads(files, rgb, x, calibration) as delivered:
            known = options_of(options)
            given = read_alignment(self.calls.service.opened(calibration)) if calibration else None
            found, overlays = self.calls.service.look_at(rgb, x, model, known, given)
            aligned = found.applied_to(known) if found else known
            pictures = {"before": overlays.before, "after": overlays.after}
            return {
                "improves": found is not None,
                "message": overlays.message,
                "matrix": plain(found.matrix) if found else None,
                "options": aligned.to_dict(),
                **{
                    name: None
                    if image is None
                    else delivered.one(f"{name}.png", partial(png_bytes, image, model))
                    for name, image in pictures.items()
                },
            }

    @as_text
    def agreement(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        options: dict | None,
        x_source: str,
        files: Delivery = "url",
    ):
        """The agreement of the three heads of one run.

        Returns an object: `shares` of the image (all_agree, only_rgb, only_x, against_fused, all_differ),
        `heads`: for the rgb and the x head the share that is as fused, the IoU per class with the fused
        head, and the largest changes of class; `map`, an indexed PNG of an index into the shares.
        """
        with self.calls.run(rgb, x, model, options, x_source, files) as (result, delivered):
            prediction = result.prediction
            kinds, colors = disagreement_map(prediction.labels), [entry.color for entry in HEADS_DIFFER]
            return {
                "model": prediction.model,
                **agreement_facts(prediction),
                "map": delivered.one("map.png", lambda: png_bytes(kinds, prediction.model, colors)),
            }

    @as_text
    def export(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        kind: str,
        options: dict | None,
        x_source: str,
        files: Delivery = "url",
    ):
        """Export a run as one file.

        kind: "svg", "pdf", "png" (figure), "npz" (arrays), "html" (report), "zip" (masks), "ply" (points
        in space), or "json", the settings, which the page's "Load settings" restores; it needs no RGB image.
        Returns an object:
        name, mime, and data, the file.
        """
        if kind == "json":
            with self.calls.uploads(files, rgb, x) as delivered:
                name, mime, data = self._settings(model, options, x_source)
                return {"name": name, "mime": mime, "data": delivered.one(name, lambda: data)}
        with self.calls.run(rgb, x, model, options, x_source, files) as (result, delivered):
            settings = {"model": model, "x_source": x_source, "x": options_of(options).to_dict()}
            name, mime, data = export_file(result, kind, self.calls.service.card(result.offered_as), settings)
            return {"name": name, "mime": mime, "data": delivered.one(name, lambda: data)}

    def _settings(self, model: str, options: dict | None, x_source: str) -> tuple[str, str, bytes]:
        """Name, MIME type and contents of the settings."""
        self.calls.service.inputs(model)  # raises for an unknown model
        if x_source not in get_args(XSource):
            raise ValueError(f"x_source {x_source!r}: choose one of {', '.join(get_args(XSource))}.")
        text = Settings(model, x_source, options_of(options)).to_json()
        return "ktb-settings.json", "application/json", text.encode()

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
