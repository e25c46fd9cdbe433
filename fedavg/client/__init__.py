"""One client: bytes in, bytes out."""
