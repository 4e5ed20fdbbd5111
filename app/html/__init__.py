"""HTML and SVG elements."""
