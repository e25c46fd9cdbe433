"""Loading: the examples that a configuration names, and the schema of their table."""
