"""Public names of the package and their modules, imported on first use (`ktb.utils.lazy`)."""

from ktb.checkpoints.adapters import load_adapter as load_adapter
from ktb.checkpoints.adapters import save_adapter as save_adapter
from ktb.checkpoints.load import load_model as load_model
from ktb.checkpoints.load import save_model as save_model
from ktb.checkpoints.push import push_to_hub as push_to_hub
from ktb.checkpoints.registry import built_in_models as built_in_models
from ktb.inference.auto import AutoPredictor as AutoPredictor
from ktb.inference.prediction import Prediction as Prediction
from ktb.inference.predictor import Predictor as Predictor
from ktb.inputs import EventStream as EventStream
from ktb.inputs import InputError as InputError
from ktb.inputs import XOptions as XOptions
from ktb.inputs import encode_x as encode_x
from ktb.inputs import read_image_rgb as read_image_rgb
from ktb.inputs import read_rgb as read_rgb
from ktb.inputs import read_x as read_x
from ktb.modeling.model import KTB as KTB
from ktb.modeling.model import KTBOutput as KTBOutput
from ktb.modeling.trace import FusionTrace as FusionTrace
from ktb.outputs.files import save_result as save_result

__version__: str
