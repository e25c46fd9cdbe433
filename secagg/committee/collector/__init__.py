"""The server of a sum by a committee, its collector: what it admits, its phases, and the sum."""
