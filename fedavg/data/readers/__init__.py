"""Readers of arrays, image folders, text and installed data sets, and the scale of their units."""
