"""Videos: segmentation frame by frame."""
