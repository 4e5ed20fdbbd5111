"""Batches: resumable runs over many pairs."""
