"""Datasets, augmentation, batches."""
