"""Clipping: bounds on the length of an update, fixed or following the updates."""
