"""A federation: the loop over rounds, its checkpoints, its results, and the budget that it has spent."""
