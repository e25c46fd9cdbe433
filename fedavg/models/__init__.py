"""Models: how a torch module becomes one vector, the built-in models, and model files."""
