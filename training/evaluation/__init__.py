"""Evaluation: inference, metrics, reports."""
