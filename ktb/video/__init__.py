"""Videos: frames in, a segmented video out."""
