"""Reports: from a run directory to pages that open without a network."""
