"""Keys, key streams, secret sharing and the ring: what is computed, without a word of who sends it."""
