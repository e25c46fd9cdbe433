"""Exact statistics: sums without rounding, and the cells that readers of the result do not get."""
