"""Batch encoding of X files to network images, such as HHA from a folder of depth maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ktb.batch.reading import noted, reading_of
from ktb.batch.runner import DEFAULTS, Made, Outcome, Running, Steps, run_batch
from ktb.config import InputConfig
from ktb.datasets.pairing import FilePair
from ktb.inputs import (
    AUTO,
    EncodedX,
    InputError,
    RawX,
    RgbImage,
    XOptions,
    encode_x,
    read_rgb,
    read_x,
)
from ktb.inputs.encode import taken_for
from ktb.inputs.sets import options_of
from ktb.modalities import DEFAULT_ENCODINGS
from ktb.outputs.x_image import Format, x_file, x_report


def encode_pairs(
    pairs: Sequence[FilePair],
    folder: Path,
    inputs: InputConfig | None = None,
    *,
    kind: Format = "png",
    options: XOptions = AUTO,
    settings: Mapping[str, Any] | None = None,
    running: Running = DEFAULTS,
) -> Outcome:
    """Write the encoded image of every X input as NAME.png (or .npy), and results.jsonl.

    Args:
        pairs: from `ktb.datasets.pairing.match`; RGB images give the size; without them X keeps its own.
        inputs: see `encode_file`.
        running: execution options; errors as for `ktb.batch.runner.run_batch`.
    """
    suffix = ".npy" if kind == "npy" else ".png"
    reading = reading_of(pairs, inputs, options)
    reading_options = options if inputs is None else options.as_trained(inputs)
    if reading is not None and inputs is not None and inputs.modality == "event":
        reading_options = reading.applied_to(reading_options)

    def read(pair: FilePair) -> EncodedX:
        raw = read_x(pair.x, options=reading_options)
        said = options if inputs is None else options_of(raw, reading, inputs, options)
        return encode_file(raw, inputs, None if pair.rgb is None else read_rgb(pair.rgb), said)

    def pack(pair: FilePair, reading: EncodedX) -> Made:
        contents, rule = x_file(reading, kind)
        return Made({"image": (pair.name + suffix, contents)}, {"encoded": x_report(reading, rule)})

    everything = {
        "inputs": None if inputs is None else asdict(inputs),
        "options": options.to_dict(),
        "format": kind,
        **(settings or {}),
    }
    steps = Steps(read, lambda readings: readings, pack, weigh=lambda reading: reading.image.nbytes)
    return run_batch(pairs, folder, steps, everything, noted(running, reading))


def encode_file(raw: RawX, inputs: InputConfig | None, rgb: RgbImage | None, options: XOptions) -> EncodedX:
    """Encode X for a network with these inputs; without inputs, with the encoder for its kind of data.

    rgb: the RGB image that X belongs to; without it X keeps its own size.

    Raises:
        InputError: X is an image and `inputs` is missing, as its content is ambiguous; or as `encode_x`.
    """
    if inputs is None:
        if raw.kind == "picture" and raw.origin == "measured":
            raise InputError(
                f"{raw.name}: the content of an image cannot be detected; give --modality depth, hha, "
                "thermal, ..., or the checkpoint to encode for with --for"
            )
        modality, _ = taken_for(raw, "other", options)
        inputs = InputConfig(modality=modality, encoding=DEFAULT_ENCODINGS[modality])
    return encode_x(raw, inputs, options=options, rgb=rgb)
