"""Keys and their use: contexts, enrolled keys, Ring-LWE, key streams, linear tags."""
