"""Keys and what is done with them: contexts, enrolled keys, Ring-LWE, key streams, linear tags."""
