"""KTB: RGB-X semantic segmentation with inspectable sensor fusion.

>>> from ktb import Predictor, load_model, read_image_rgb, read_x
>>> predictor = Predictor(load_model("ktb-lite-nyuv2-depth"))
>>> prediction = predictor(read_image_rgb("rgb.png"), read_x("depth.png"))
"""

from ktb.utils.lazy import lazy_names

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
