"""Verdicts: which clients are shown to cheat, by what evidence, and which must leave without proof."""
