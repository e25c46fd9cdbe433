"""Models: the conversion of a torch module to one vector, the built-in models, and model files."""
