"""One client of a federation."""
