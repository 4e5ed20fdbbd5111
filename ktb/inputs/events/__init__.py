"""Event cameras: files, streams and their images."""
