"""The HTTP API: its endpoints, and results as JSON."""
