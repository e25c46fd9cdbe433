"""Messages as values, and their one form in bytes: sizes, records, envelopes."""
