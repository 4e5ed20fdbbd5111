"""KTB: RGB-X semantic segmentation with inspectable sensor fusion.

>>> from ktb import Predictor, load_model, read_image_rgb, read_x
>>> predictor = Predictor(load_model("ktb-lite-nyuv2-depth"))
>>> prediction = predictor(read_image_rgb("rgb.png"), read_x("depth.png"))
"""

from typing import TYPE_CHECKING

from ktb.utils.lazy import lazy_names

if TYPE_CHECKING:
    from ktb.checkpoints.adapters import load_adapter, save_adapter
    from ktb.checkpoints.load import load_model, save_model
    from ktb.checkpoints.push import push_to_hub
    from ktb.checkpoints.registry import built_in_models
    from ktb.inference.auto import AutoPredictor
    from ktb.inference.prediction import Prediction
    from ktb.inference.predictor import Predictor
    from ktb.inputs import (
        EventStream,
        InputError,
        XOptions,
        encode_x,
        read_image_rgb,
        read_rgb,
        read_x,
    )
    from ktb.modeling.model import KTB, KTBOutput
    from ktb.modeling.trace import FusionTrace
    from ktb.outputs.files import save_result

__version__ = "0.1.0"
__all__ = [
    "KTB",
    "AutoPredictor",
    "EventStream",
    "FusionTrace",
    "InputError",
    "KTBOutput",
    "Prediction",
    "Predictor",
    "XOptions",
    "built_in_models",
    "encode_x",
    "load_adapter",
    "load_model",
    "push_to_hub",
    "read_image_rgb",
    "read_rgb",
    "read_x",
    "save_adapter",
    "save_model",
    "save_result",
]
__getattr__ = lazy_names(
    __name__,
    {
        "checkpoints.adapters": ("load_adapter", "save_adapter"),
        "checkpoints.load": ("load_model", "save_model"),
        "inputs": ("EventStream", "InputError", "XOptions", "encode_x", "read_image_rgb", "read_rgb"),
        "inputs.read": ("read_x",),
        "modeling.model": ("KTB", "KTBOutput"),
        "checkpoints.registry": ("built_in_models",),
        "outputs.files": ("save_result",),
        "checkpoints.push": ("push_to_hub",),
        "inference.auto": ("AutoPredictor",),
        "inference.prediction": ("Prediction",),
        "inference.predictor": ("Predictor",),
        "modeling.trace": ("FusionTrace",),
    },
)
