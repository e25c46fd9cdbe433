"""A run of records across silos: its settings, and the run itself."""
