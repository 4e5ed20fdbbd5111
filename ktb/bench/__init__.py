"""How fast networks are here, measured so that ratios hold on a busy machine: `python -m ktb bench`.

Every case runs in a fresh process of its own, which stays; the rounds go through all processes in turn, so
that whatever else the machine does meets all of them. A ratio is the median of the rounds' own ratios.
"""

from ktb.bench.cases import BASELINE, RANDOM_MODELS, Case, make_cases
from ktb.bench.plot import draw
from ktb.bench.run import Frames, run_cases

__all__ = ["BASELINE", "RANDOM_MODELS", "Case", "Frames", "draw", "make_cases", "run_cases"]
