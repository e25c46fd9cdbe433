"""What users check before a run: how each column of a table is read, and what each client holds."""
