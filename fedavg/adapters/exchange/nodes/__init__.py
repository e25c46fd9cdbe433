"""A node: its answers, how it is enrolled, and its privacy ledger."""
