"""RGB and X inputs: lossless readers, and encoders for the X images that checkpoints expect.

Readers (`read_image_rgb`, `read_x`) convert a file to arrays and report what they found. Encoders
(`encode_x`) convert these to the three-channel image that a checkpoint was trained on. User errors raise
InputError, a ValueError, with a remedy.
"""

from ktb.inputs.alignment.cameras import Calibration, Intrinsics
from ktb.inputs.alignment.ecc import AlignmentEstimate, estimate_alignment
from ktb.inputs.alignment.edges import alignment_overlay
from ktb.inputs.alignment.files import Alignment, read_alignment
from ktb.inputs.alignment.place import place
from ktb.inputs.encode import EncodedX, encode_x, missing_x
from ktb.inputs.encoders.depth import encode_depth, fill_holes, read_depth_metres
from ktb.inputs.encoders.depth_units import DEPTH_UNITS, NEAR_BRIGHT, NEAR_DARK
from ktb.inputs.events.stream import COUNT_SATURATION, EventStream, event_frame
from ktb.inputs.limits import InputError
from ktb.inputs.options import AUTO, XOptions
from ktb.inputs.read import read_x
from ktb.inputs.rgb import read_image_rgb, read_rgb
from ktb.inputs.types import DepthMap, Origin, RawX, RgbImage

__all__ = [
    "AUTO",
    "COUNT_SATURATION",
    "DEPTH_UNITS",
    "NEAR_BRIGHT",
    "NEAR_DARK",
    "Alignment",
    "AlignmentEstimate",
    "Calibration",
    "DepthMap",
    "EncodedX",
    "EventStream",
    "InputError",
    "Intrinsics",
    "Origin",
    "RawX",
    "RgbImage",
    "XOptions",
    "alignment_overlay",
    "encode_depth",
    "encode_x",
    "estimate_alignment",
    "event_frame",
    "fill_holes",
    "missing_x",
    "place",
    "read_alignment",
    "read_depth_metres",
    "read_image_rgb",
    "read_rgb",
    "read_x",
]
