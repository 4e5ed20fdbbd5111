"""Fuzz tests of the readers with damaged files."""
