"""What a cell of a study runs: a run of clients, or of records; and how each is described."""
