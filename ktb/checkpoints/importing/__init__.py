"""The authors' models on this machine: recognised, converted, and fetched where that works."""

from ktb.checkpoints.importing.add import Outcome, add_all
from ktb.checkpoints.importing.fetch import fetch_all

__all__ = ["Outcome", "add_all", "fetch_all"]
