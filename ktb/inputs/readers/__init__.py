"""Readers: from a file to stored values."""
