"""Composition of privacy losses: certified brackets on ε and δ for many releases of given pairs."""
