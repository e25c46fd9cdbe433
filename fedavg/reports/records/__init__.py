"""The report of a run that protects people or records."""
