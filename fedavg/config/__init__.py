"""Configurations: TOML to typed values, and from there to a plan."""
