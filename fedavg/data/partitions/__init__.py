"""Partitions: which client holds which examples, and which examples are held out to score on."""
