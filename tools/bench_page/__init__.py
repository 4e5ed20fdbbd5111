"""Tools that time and load the page."""
