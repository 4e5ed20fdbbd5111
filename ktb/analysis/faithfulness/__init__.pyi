"""Public names of the package and their modules, imported on first use (`ktb.utils.lazy`)."""

from ktb.analysis.faithfulness.forecast_maps import DISAGREEMENT as DISAGREEMENT
from ktb.analysis.faithfulness.forecast_maps import INDECISION as INDECISION
from ktb.analysis.faithfulness.forecast_maps import RELIANCE as RELIANCE
from ktb.analysis.faithfulness.forecast_maps import class_changes as class_changes
from ktb.analysis.faithfulness.forecast_maps import forecasts as forecasts
from ktb.analysis.faithfulness.forecast_maps import margin as margin
from ktb.analysis.faithfulness.forecast_maps import reliance as reliance
from ktb.analysis.faithfulness.scores import MapScore as MapScore
from ktb.analysis.faithfulness.scores import auroc as auroc
from ktb.analysis.faithfulness.scores import auroc_within as auroc_within
from ktb.analysis.faithfulness.study import FaithfulnessStudy as FaithfulnessStudy
from ktb.analysis.faithfulness.study import image_scores as image_scores
