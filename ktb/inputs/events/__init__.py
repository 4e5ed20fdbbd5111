"""Event cameras: files, streams and encoders."""
