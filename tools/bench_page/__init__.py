"""Timing and load tests of the page."""
