"""Client algorithms: control variates, models of the clients' own, blocks, and what clients keep."""
