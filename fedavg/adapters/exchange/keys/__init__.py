"""A node's keys: what they are, how old they may be, and the private files in which they lie."""
