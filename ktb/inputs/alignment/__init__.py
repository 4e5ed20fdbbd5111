"""Alignment of X to the RGB image."""
