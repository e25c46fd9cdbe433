"""Optimisers: values that say how clients and server step, without torch."""
