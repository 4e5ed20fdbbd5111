"""The page's actions as endpoints of the HTTP API: each takes files and options, runs, and keeps nothing."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial

import gradio as gr

from app.answers import as_base64, check_given, compared, plain
from app.export import EXPORTS, export_file
from app.handlers import shows_errors
from app.panels.x_input import network_picture
from app.service import Result, Service
from app.sessions import SessionStore
from ktb.array_file import arrays_file, level_arrays
from ktb.inspection import Inspection
from ktb.inspection.attribution import Target, attribute_prediction
from ktb.inspection.words import describe_level
from ktb.modalities import XOptions
from ktb.outputs import png_bytes, result_files
from ktb.what_if import Change
from ktb.what_if import run as run_changed

as_text = partial(shows_errors, as_html=False)
CHANGES = ("drop", "shift_xy", "darken", "blur_sigma")


class Api:
    """The endpoints' functions; uploads of a call are deleted when it ends."""

    def __init__(self, service: Service, store: SessionStore):
        self.service, self.store = service, store

    @as_text
    def segment(self, rgb: str | None, x: list[str] | None, model: str, options: dict | None, x_source: str):
        """Masks of one pair: class tables, and each file of the ZIP as base64 under `files`.

        Args:
            rgb: the photograph. x: the files that make up X. model: one of /models.
            options: what is known about X, such as {"unit": "mm"}; see `ktb.modalities.XOptions`.
            x_source: "file", "none" (the photograph alone) or "estimate" (depth from the photograph).
        """
        with self._run(rgb, x, model, options, x_source) as result:
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
        with self._uploads(rgb, x):
            if not x:
                raise ValueError("the X image is missing. Upload at least one file.")
            reading = self.service.read_x(x, rgb, model, _options(options)).reading
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
    def inspect(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        row: int,
        column: int,
        level: int,
        head: int,
        options: dict | None,
        x_source: str,
    ):
        """Where a pixel (row, column) of the photograph looked at a level (0..3), for a head (-1: all heads).

        Returns an object: points and references [[y, x] in -1..1, align-corners], attention, weight_x, x_led
        (per point), balance, entropy, effective_points, sparse_share; `shares`, per level what of the fused
        feature came from rgb, x and context; `probabilities`, per branch class → 0..1.
        """
        with self._run(rgb, x, model, options, x_source) as result:
            prediction = result.prediction
            check_given(row, column, level)
            found = prediction.probabilities_at(row, column)
            look = Inspection(prediction)
            at = look.at((row, column))
            view = look.pixel(level, at, None if head is None or head < 0 else head)
            return {
                "model": prediction.model,
                "warnings": list(prediction.x.warnings),
                **plain(asdict(view)),
                "shares": [asdict(shares) for shares in look.shares(at)],
                "probabilities": {
                    branch: dict(zip(prediction.classes, plain(values))) for branch, values in found.items()
                },
            }

    @as_text
    def maps(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        level: int,
        options: dict | None,
        x_source: str,
    ):
        """All maps of a level (0..3).

        Returns an object: `npz`, a base64 .npz of balance, head_balance, entropy, sparse_share, importance,
        importance_map, density_map, sampling_points, reference_points, weight_x, and prompt_rgb and prompt_x
        where there are prompts (shapes: `ktb.array_file.prediction_arrays`); `words`, the same in a sentence;
        `is_uniform`, whether the attention carries no information; `stride` in pixels of the network's input.
        """
        with self._run(rgb, x, model, options, x_source) as result:
            check_given(level)
            maps = Inspection(result.prediction).maps(level)
            return {
                "model": result.prediction.model,
                "warnings": list(result.prediction.x.warnings),
                "stride": maps.stride,
                "is_uniform": maps.is_uniform,
                "words": describe_level(maps, "X"),
                "npz": as_base64(arrays_file(level_arrays(maps))),
            }

    @as_text
    def attribute(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        row: int,
        column: int,
        class_name: str,
        options: dict | None,
        x_source: str,
    ):
        """What a pixel's fused score reacts to: gradient × token after patch embedding.

        class_name: whose score; "" for the class predicted there. With row and column -1: the mean over all
        places where that class is predicted. Returns an object: score, value, rgb and x (maps as lists, at
        the token grid), total_rgb, total_x, share_x, and without_x, without_rgb: how the score really changes
        when that sensor is switched off.
        """
        with self._run(rgb, x, model, options, x_source) as result:
            prediction = result.prediction
            index = None
            if class_name and class_name not in prediction.classes:
                allowed = ", ".join(prediction.classes)
                raise ValueError(f"class {class_name!r} is not there; choose one of {allowed}.")
            if class_name:
                index = prediction.classes.index(class_name)
            check_given(row, column)
            if row < 0 and column < 0:
                target = Target("class", class_index=index)
            else:
                target = Target("pixel", pixel=(row, column), class_index=index)
            predictor = self.service.predictor(model)
            found = attribute_prediction(predictor, result.rgb, prediction.x, target)
            return {"model": prediction.model, **plain(asdict(found))}

    @as_text
    def what_if(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        change: dict | None,
        options: dict | None,
        x_source: str,
    ):
        """The pair as it is and changed.

        change: any of {"drop": "rgb" or "x", "shift_xy": [right, down] in pixels, "darken": 0..1 of the
        light, "blur_sigma": pixels}. Returns an object: `before` and `after` (class tables and warnings as
        /segment, the masks as base64 indexed PNG under `labels`), `difference` (shares of the pixels that
        change class, the largest changes, classes, mean confidence, agreement per branch), `words`.
        """
        with self._run(rgb, x, model, options, x_source) as result:
            given = change or {}
            if not isinstance(given, Mapping) or set(given) - set(CHANGES):
                raise ValueError(f"change: give an object with any of {', '.join(CHANGES)}.")
            try:
                wanted = Change(**given)
            except (TypeError, OverflowError) as error:
                raise ValueError(
                    "change: drop is a text, shift_xy two whole numbers, darken and blur_sigma are numbers."
                ) from error
            predictor = self.service.predictor(model)
            changed = run_changed(predictor, wanted, result.rgb, result.prediction.x)
            return {"words": list(wanted.words), **compared(result.prediction, changed)}

    @as_text
    def compare(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        other: str,
        options: dict | None,
        x_source: str,
    ):
        """Two checkpoints on one pair; answers as /what_if: `before` is model's, `after` other's."""
        with self._run(rgb, x, model, options, x_source) as result:
            second = self.service.segment(rgb, x, other, _options(options), x_source)
            return compared(result.prediction, second.prediction)

    @as_text
    def models(self):
        """The checkpoints, the default first: a list of {name, classes, x: {modality, encoding}, card}."""
        found = []
        for name in self.service.models:
            config = self.service.config(name)
            found.append(
                {
                    "name": name,
                    "classes": list(config.classes),
                    "x": {"modality": config.inputs.modality, "encoding": config.inputs.encoding},
                    "card": dict(self.service.card(name)),
                }
            )
        return found

    @as_text
    def export(
        self, rgb: str | None, x: list[str] | None, model: str, kind: str, options: dict | None, x_source: str
    ):
        """A run as one file.

        kind: "svg", "pdf", "png" (figure), "npz" (arrays), "html" (report), "zip" (masks). Returns an
        object: name, mime, and data, the file's contents as base64.
        """
        with self._run(rgb, x, model, options, x_source) as result:
            said = {"model": model, "x_source": x_source, "x": _options(options).to_dict()}
            name, mime, data = export_file(result, kind, self.service.card(model), said)
            return {"name": name, "mime": mime, "data": as_base64(data)}

    @contextmanager
    def _uploads(self, rgb: str | None, x: list[str] | None) -> Iterator[None]:
        call = uuid.uuid4().hex
        self.store.remember_uploads(call, [rgb, *(x or [])])
        try:
            yield
        finally:
            self.store.close(call)

    @contextmanager
    def _run(
        self, rgb: str | None, x: list[str] | None, model: str, options: dict | None, x_source: str
    ) -> Iterator[Result]:
        with self._uploads(rgb, x):
            yield self.service.segment(rgb, x, model, _options(options), x_source)


def wire_api(api: Api, rgb: gr.Image, x_files: gr.File, model: gr.Dropdown, models: list[str]) -> None:
    """Hidden components give the parameters their types; every endpoint is named like its function."""
    fields: dict[str, gr.components.Component] = {"rgb": rgb, "x": x_files, "model": model}
    fields["options"] = gr.JSON({}, visible=False, label="options")
    fields["x_source"] = gr.Textbox("file", visible=False, label="x_source")
    for name, start in (("row", 0), ("column", 0), ("level", 2), ("head", -1)):
        fields[name] = gr.Number(start, precision=0, visible=False, label=name)
    fields["class_name"] = gr.Textbox("", visible=False, label="class_name")
    fields["change"] = gr.JSON({}, visible=False, label="change")
    fields["other"] = gr.Dropdown(models, value=models[-1], visible=False, label="other")
    fields["kind"] = gr.Dropdown(list(EXPORTS), value="html", visible=False, label="kind")
    answer, button = gr.JSON(visible=False, label="answer"), gr.Button(visible=False)
    endpoints: tuple[Callable, ...] = (
        api.segment, api.read_x, api.inspect, api.maps, api.attribute, api.what_if, api.compare, api.export
    )  # fmt: skip
    for function in endpoints:
        inputs = [fields[name] for name in inspect.signature(function).parameters]
        button.click(
            function,
            inputs,
            answer,
            api_name=function.__name__,
            concurrency_limit=1,
            concurrency_id="network",
        )
    button.click(api.models, None, answer, api_name="models")


def _options(options: dict | None) -> XOptions:
    return XOptions.from_dict({} if options is None else options)
