"""Hugging Face Spaces and ZeroGPU."""
