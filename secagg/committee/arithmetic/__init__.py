"""Prime fields, packed sharing and decoding: computations without the protocol's parties."""
