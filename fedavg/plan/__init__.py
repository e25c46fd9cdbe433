"""Plan: it combines all parts of a run and derives every number that follows from them."""
