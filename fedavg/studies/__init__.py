"""Studies: grids of runs over processes, their tables and pages."""
