"""Encoders: from stored values of a sensor to the X image of the network."""
