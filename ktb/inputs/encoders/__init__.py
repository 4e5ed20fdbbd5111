"""Encoders: from a sensor's stored values to the X image of the network."""
