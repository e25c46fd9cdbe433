"""The files of a run directory: how they are written, and what they hold."""
