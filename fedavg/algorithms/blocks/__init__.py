"""Blocks: parts of a model, of which each client trains and sends one."""
