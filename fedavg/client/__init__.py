"""One client of a federation: a trial step, its part in a round, blocks, and a model of its own."""
