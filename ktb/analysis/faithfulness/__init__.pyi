"""Public names of the package and their modules, imported on first use (`ktb.utils.lazy`)."""

from ktb.analysis.faithfulness.curves import CurveStudy as CurveStudy
from ktb.analysis.faithfulness.curves import TokenRuns as TokenRuns
from ktb.analysis.faithfulness.curves import integrated_gradients as integrated_gradients
from ktb.analysis.faithfulness.curves import token_curves as token_curves
from ktb.analysis.faithfulness.forecast_maps import DISAGREEMENT as DISAGREEMENT
from ktb.analysis.faithfulness.forecast_maps import INDECISION as INDECISION
from ktb.analysis.faithfulness.forecast_maps import RELIANCE as RELIANCE
from ktb.analysis.faithfulness.forecast_maps import class_changes as class_changes
from ktb.analysis.faithfulness.forecast_maps import forecasts as forecasts
from ktb.analysis.faithfulness.forecast_maps import margin as margin
from ktb.analysis.faithfulness.forecast_maps import reliance as reliance
from ktb.analysis.faithfulness.fusion_parts import contributions as contributions
from ktb.analysis.faithfulness.fusion_parts import recorded_features as recorded_features
from ktb.analysis.faithfulness.measure import PairMeasurement as PairMeasurement
from ktb.analysis.faithfulness.scores import MapScore as MapScore
from ktb.analysis.faithfulness.scores import auroc as auroc
from ktb.analysis.faithfulness.scores import auroc_within as auroc_within
from ktb.analysis.faithfulness.shapley import blank_logits as blank_logits
from ktb.analysis.faithfulness.shapley import shapley_values as shapley_values
from ktb.analysis.faithfulness.study import FaithfulnessStudy as FaithfulnessStudy
from ktb.analysis.faithfulness.study import ImageMaps as ImageMaps
from ktb.analysis.faithfulness.study import image_maps as image_maps
from ktb.analysis.faithfulness.study import image_scores as image_scores
