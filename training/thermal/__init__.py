"""Simulated thermal images of labelled street frames, and nights made of their RGB images."""
