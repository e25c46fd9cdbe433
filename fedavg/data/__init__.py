"""Data: examples, where they come from, and how they lie on the clients."""
