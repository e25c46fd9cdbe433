"""Data: the examples, their sources, and their partition over the clients."""
