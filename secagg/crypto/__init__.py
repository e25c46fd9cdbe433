"""Keys, key streams, secret sharing and the ring: computations without the protocol's parties."""
