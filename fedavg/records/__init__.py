"""Privacy of people and records across silos: every silo draws units by coin, and only noisy sums leave."""
