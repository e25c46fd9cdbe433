"""The page of a run, and its parts on the run's end and on clients' own models."""
