"""Tools that measure and render; none of them is part of the product."""
