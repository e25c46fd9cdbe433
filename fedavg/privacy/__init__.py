"""Privacy parts of a plan: noise, adaptive clipping, and how clients are sampled."""
