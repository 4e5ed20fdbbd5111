"""The authors' models on this machine: recognised, converted, and fetched where that works."""

from ktb.zoo.add import Outcome, add_all
from ktb.zoo.fetch import fetch_all

__all__ = ["Outcome", "add_all", "fetch_all"]
