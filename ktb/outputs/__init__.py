"""Outputs of a prediction: masks, figures, reports and arrays."""
