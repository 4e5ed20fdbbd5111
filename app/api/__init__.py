"""The HTTP API: endpoints, and their results as JSON."""
