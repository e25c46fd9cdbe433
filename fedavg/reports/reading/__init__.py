"""Reading: a run directory, and its evaluation, as typed values for a report."""
