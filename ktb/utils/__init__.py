"""Utilities for every package: files, locks, caches, text, lazy imports, ranks, validation."""
