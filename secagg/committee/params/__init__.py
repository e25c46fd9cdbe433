"""Parameters of a sum by a committee, and what clients and members require of them."""
