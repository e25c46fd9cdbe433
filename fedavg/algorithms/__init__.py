"""Client algorithms: update stages, personal models, blocks, and the state that clients keep."""
