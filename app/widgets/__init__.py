"""Input widgets of the page."""
