"""The contestants: ours, Flower, pfl and a plain loop, at one task."""
