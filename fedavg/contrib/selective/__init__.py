"""A sum that encrypts chosen coordinates and adds the others in another way."""
