"""ASGI middleware in front of the page: request ids, security headers, rate limits, and the upload route."""
