"""Statistics under noise: the layout of the vector, its sensitivity, the noise, and what the sum says."""
