"""Optimisers of clients and server, as values that need no torch."""
