"""Robustness: corruptions, conditions, the suite and its report."""
