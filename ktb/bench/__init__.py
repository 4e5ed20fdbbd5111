"""Benchmark of models on this machine, with ratios that are valid on a busy machine: `python -m ktb bench`.

Every case runs in its own process for the whole benchmark. Each round runs all cases in turn, so that other
load on the machine affects all of them. A ratio is the median of the ratios within the rounds.
"""

from ktb.bench.cases import BASELINE, RANDOM_MODELS, Case, make_cases
from ktb.bench.plot import draw
from ktb.bench.run import Frames, run_cases

__all__ = ["BASELINE", "RANDOM_MODELS", "Case", "Frames", "draw", "make_cases", "run_cases"]
