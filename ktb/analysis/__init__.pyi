"""Public names of the package and their modules, imported on first use (`ktb.utils.lazy`)."""

from ktb.analysis.attribution import attribute as attribute
from ktb.analysis.attribution import attribute_prediction as attribute_prediction
from ktb.analysis.color_range import clipped_range as clipped_range
from ktb.analysis.describe import describe_attribution as describe_attribution
from ktb.analysis.describe import describe_level as describe_level
from ktb.analysis.describe import describe_pixel as describe_pixel
from ktb.analysis.faithfulness.forecast_maps import reliance as reliance
from ktb.analysis.inspection import Inspection as Inspection
from ktb.analysis.maps import level_maps as level_maps
from ktb.analysis.pixel import inspect_pixel as inspect_pixel
from ktb.analysis.pixel import pixel_balances as pixel_balances
from ktb.analysis.pixel import pixel_shares as pixel_shares
from ktb.analysis.targets import Target as Target
from ktb.analysis.targets import TargetKind as TargetKind
from ktb.analysis.targets import region_at as region_at
from ktb.analysis.targets import target_at as target_at
from ktb.analysis.types import UNIFORM_ENTROPY as UNIFORM_ENTROPY
from ktb.analysis.types import Attribution as Attribution
from ktb.analysis.types import LevelMaps as LevelMaps
from ktb.analysis.types import PixelShares as PixelShares
from ktb.analysis.types import PixelView as PixelView
from ktb.analysis.types import at_of_pixel as at_of_pixel
from ktb.analysis.types import cell_at as cell_at
from ktb.analysis.types import place_in_image as place_in_image
from ktb.analysis.types import strongest as strongest
