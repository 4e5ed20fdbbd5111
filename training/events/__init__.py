"""Simulation of event cameras."""
