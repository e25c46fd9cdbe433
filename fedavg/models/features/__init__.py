"""Fixed features in front of a small model: `images` and `frozen` are parts, `computed` applies them."""
