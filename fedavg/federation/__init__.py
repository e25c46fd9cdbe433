"""A federation: the loop over rounds, and its checkpoints."""
