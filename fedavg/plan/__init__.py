"""Plan: the coupling of all parts, and every number that follows from it."""
