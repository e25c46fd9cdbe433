"""Reports: pages made from a run directory, which open without a network."""
