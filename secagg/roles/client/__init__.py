"""One client of a session: what it accepts, its masked input, and its state between two phases."""
