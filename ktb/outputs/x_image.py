"""Encoded X images as files: PNG with 8 or 16 bits, or .npy with the exact values."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Literal

import cv2
import numpy as np

from ktb.inputs import EncodedX

Format = Literal["png", "png16", "npy"]
EXACT = "the stored value"
_SIGNED_NOTE = (
    "A PNG of the angle of polarization can only be read again as a plain image, by the rule given here; for "
    "training write .npy, which is read as the angle."
)
_HEADER_END = 33
"""Size of a PNG's signature and IHDR chunk in bytes."""


def x_file(reading: EncodedX, kind: Format = "png") -> tuple[bytes, str]:
    """Encode an X image as a file; returns the contents and the rule that decodes the values.

    A PNG stores values in [0, 1] as value * 255 or 65535, and those of the angle of polarization, in [-1, 1],
    as (value + 1) / 2. Its text chunks name the encoder, the rule, and whether X was measured. A .npy file is
    (H, W, 3) float32.
    """
    if kind == "npy":
        buffer = io.BytesIO()
        np.save(buffer, reading.image)
        return buffer.getvalue(), EXACT
    top = 65535 if kind == "png16" else 255
    signed = reading.encoding == "aolp"
    unit = (reading.image + 1) / 2 if signed else reading.image
    pixels = np.rint(np.clip(unit, 0, 1) * top).astype(np.uint16 if kind == "png16" else np.uint8)
    rule = f"pixel / {top} * 2 - 1" if signed else f"pixel / {top}"
    done, png = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))
    assert done
    texts = {"Software": "KTB", "X": reading.origin, "Encoding": reading.encoding, "Values": rule}
    return _with_texts(png.tobytes(), texts), rule


def x_report(reading: EncodedX, rule: str) -> dict[str, Any]:
    """JSON-compatible report of an encoded X: facts, warnings, and statistics of each channel."""
    height, width, channels = reading.image.shape
    is_signed_png = reading.encoding == "aolp" and rule != EXACT
    values = [reading.image[..., channel] for channel in range(channels)]
    return {
        "origin": reading.origin,
        "modality": reading.modality,
        "encoding": reading.encoding,
        "summary": reading.summary,
        "facts": dict(reading.facts),
        "warnings": [*reading.warnings, *([_SIGNED_NOTE] if is_signed_png else [])],
        "size": {"height": height, "width": width},
        "values": rule,
        "filled_share": 0.0 if reading.holes is None else float(reading.holes.mean()),
        "channels": [
            {"min": float(v.min()), "mean": float(v.mean(dtype=np.float64)), "max": float(v.max())}
            for v in values
        ],
    }


def _with_texts(png: bytes, texts: Mapping[str, str]) -> bytes:
    """Insert text chunks after a PNG's header, because OpenCV writes 16 bits per channel but no text."""
    chunks = b""
    for key, text in texts.items():
        body = b"tEXt" + key.encode("latin-1") + b"\0" + text.encode("latin-1", "replace")
        chunks += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_HEADER_END] + chunks + png[_HEADER_END:]
