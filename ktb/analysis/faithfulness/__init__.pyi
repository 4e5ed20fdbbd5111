"""Public names of the package and their modules, imported on first use (`ktb.utils.lazy`)."""

from ktb.analysis.faithfulness.study import BALANCE as BALANCE
from ktb.analysis.faithfulness.study import DOUBT as DOUBT
from ktb.analysis.faithfulness.study import MARGIN as MARGIN
from ktb.analysis.faithfulness.study import FaithfulnessStudy as FaithfulnessStudy
from ktb.analysis.faithfulness.study import MapScore as MapScore
from ktb.analysis.faithfulness.study import auroc as auroc
from ktb.analysis.faithfulness.study import auroc_within as auroc_within
from ktb.analysis.faithfulness.study import class_changes as class_changes
from ktb.analysis.faithfulness.study import forecasts as forecasts
from ktb.analysis.faithfulness.study import image_scores as image_scores
from ktb.analysis.faithfulness.study import margin as margin
