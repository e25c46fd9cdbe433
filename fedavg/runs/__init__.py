"""Runs: a directory, its progress, and how it is resumed."""
