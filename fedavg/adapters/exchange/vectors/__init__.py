"""The vectors of records: where each value stands in them, and their encoding with and without noise."""
