"""Readers: from files to stored values."""
