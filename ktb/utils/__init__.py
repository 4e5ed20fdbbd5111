"""What every package may use: files, locks, caches, text, lazy imports, ranks."""
