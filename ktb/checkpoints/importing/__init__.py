"""Import of the authors' models: identification, conversion and download."""

from ktb.checkpoints.importing.add import Outcome, add_all
from ktb.checkpoints.importing.fetch import fetch_all

__all__ = ["Outcome", "add_all", "fetch_all"]
