"""The inputs of the page."""
