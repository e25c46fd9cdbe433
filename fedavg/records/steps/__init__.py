"""The server's part of a step: its sums, group by group, and the mean that it takes from them."""
